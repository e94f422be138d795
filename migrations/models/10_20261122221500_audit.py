"""The audit log: who did what, from where, to which object."""

from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return """
        -- Without references: the log outlives what it speaks of.
        CREATE TABLE audit_entry (
            id BIGSERIAL NOT NULL,
            at TIMESTAMPTZ NOT NULL,
            account_id BIGINT NOT NULL,
            action TEXT NOT NULL,
            object_type TEXT,
            object_id BIGINT,
            details JSONB NOT NULL,
            actor_kind TEXT NOT NULL CHECK (actor_kind IN ('TOKEN', 'USER', 'COMMAND_LINE', 'SYSTEM')),
            actor_id BIGINT,
            actor_name TEXT,
            role TEXT,
            client_address TEXT NOT NULL,
            user_agent TEXT NOT NULL CHECK (length(user_agent) <= 200),
            request_id TEXT NOT NULL,
            PRIMARY KEY (id, at),
            CHECK ((object_type IS NULL) = (object_id IS NULL))
        ) PARTITION BY RANGE (at);
        CREATE INDEX audit_entry_of_account ON audit_entry (account_id, id);
        CREATE INDEX audit_entry_of_object ON audit_entry (account_id, object_type, object_id, id)
            WHERE object_type IS NOT NULL;
        COMMENT ON TABLE audit_entry IS 'Only ever added to; months that are too old are dropped whole';

        CREATE FUNCTION groupsms_refuse_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'entries of the audit log are never changed or removed'
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END
        $$;
        CREATE TRIGGER audit_entry_stays BEFORE UPDATE OR DELETE ON audit_entry
            FOR EACH ROW EXECUTE FUNCTION groupsms_refuse_change();
        CREATE TRIGGER audit_entry_is_not_emptied BEFORE TRUNCATE ON audit_entry
            FOR EACH STATEMENT EXECUTE FUNCTION groupsms_refuse_change();

        -- For months that nobody has made a table for.
        CREATE TABLE audit_entry_rest PARTITION OF audit_entry DEFAULT;
        CREATE TRIGGER audit_entry_is_not_emptied BEFORE TRUNCATE ON audit_entry_rest
            FOR EACH STATEMENT EXECUTE FUNCTION groupsms_refuse_change();

        -- Attached once they are ready: made as partitions, they would lock out those who write entries.
        CREATE FUNCTION groupsms_make_audit_months(ahead INT) RETURNS VOID LANGUAGE plpgsql AS $$
        DECLARE
            month TIMESTAMP;
            partition TEXT;
        BEGIN
            FOR month IN
                SELECT date_trunc('month', groupsms_now() AT TIME ZONE 'UTC') + n * interval '1 month'
                FROM generate_series(0, ahead) AS n
            LOOP
                partition := 'audit_entry_' || to_char(month, 'YYYY_MM');
                CONTINUE WHEN to_regclass(partition) IS NOT NULL OR EXISTS (
                    SELECT FROM audit_entry_rest
                    WHERE at >= month AT TIME ZONE 'UTC'
                      AND at < (month + interval '1 month') AT TIME ZONE 'UTC'
                );
                EXECUTE format('CREATE TABLE %I (LIKE audit_entry INCLUDING ALL)', partition);
                EXECUTE format(
                    'CREATE TRIGGER audit_entry_is_not_emptied BEFORE TRUNCATE ON %I '
                    'FOR EACH STATEMENT EXECUTE FUNCTION groupsms_refuse_change()', partition);
                EXECUTE format(
                    'ALTER TABLE audit_entry ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition,
                    month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
            END LOOP;
        END
        $$;
        SELECT groupsms_make_audit_months(6);
    """


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        DROP FUNCTION groupsms_make_audit_months;
        DROP TABLE audit_entry;
        DROP FUNCTION groupsms_refuse_change;
    """


MODELS_STATE = (
    "eJztXW1z2rgW/isavrQ7k+Ym5K2XvXNnHOK27PKSAdpud7PjCizAEyOzlkjK7u1/v0eyDX"
    "6PTYAY6i+JLevI5nn0cnR0dPRPZWrpxGTHynBIGOtb94RWauifCsVTAhdxj49QBc9mq4ci"
    "geOBKfNjmVHjy5wDxm085PBshE1GIEknbGgbM25Y4lUVBQ0ItomNpEwNWdRcIIMz1PugvK"
    "leXCKDoXsy48eiON0aQnkGHeeWnFPjrzmBDxsTPiE2yP/xJyQbVCffCPNuZ/fayCCmHsDA"
    "0EUBMl3ji5lMuzbGDcrfybziuwba0DLnU7rKP1vwiUWXAgblInVMKLExJ+IN3J4LPOjcNF"
    "34PIicj11lcb7SJ6OTEZ6bAlUh7XzAKq2iae1OX+upfU2rRBD3JHxQuklDiwq24FOZBGAs"
    "PuHNv6vVs7Or6snZ5duL86uri7cnbyGv/N7oo6vvzses0HKKkpg13jfaffFBFlQJp76IhO"
    "9SBnPsSEkyVuhLcrUJZpM4Fii2F/EsBOVCbAwWnLAwHx76aYR4CStGVtV6fUoqbo09QmdV"
    "tPy2pxlKA7vZuRaFTBn7yxQJn5TudaOtdL+8bim//SQfLdxHzU77vZd/ZjE+tmVBlesvfV"
    "WR9KzosC0AJkJEfYJtlc6nkooGfCOmQxKhxJMNkQG/qEBUfGqon9VuDTn/72hPbd+Ie+f/"
    "HW0pbeW9SHAv7mjnVu0q/Q4keVfZ2KtM8TfNJHTMJ3B7epnCJpBX/6B0X59e/hRsP233SV"
    "U+ClI1tImAU8M8StgNPOHGlMS3naBkiC7dFT32LopDXvauDX6g3oHxwu1SU6DvN1pqr6+0"
    "bgOt6Ubpq+JJNdCQvNTXYZqWhaDPjf4HJG7R7522Gm5xy3z93yvim/CcWxq1HjWs+3p/L9"
    "VDLcA6+TYzoLQ1WA9KboB193OLQvqekOxhksqyTR5gfFunbQclS5aLzDJo09acci2vBhqU"
    "e1oT3Ycee2fKqJgHjO5jdVEX1ygZ7yybGGP6K1lENKAQ+qsJlVfSnhHx3atsXuqqC7Dx43"
    "L6FKqDgAD8bsIdbVHp1ZUbtSKhHuDh/SO2dS2AuXhiVa1QyjJv9NG0Og2nYIrHEh/xQ8Rn"
    "h7CPn+d6tKTOcZeZnpzefp5YiBGqM4SpjmZ4wY6R+kBsqBWAMhrMOYL5KLJmog5Y9iuGoI"
    "M2yCNDUIUWDBmUGTo8pwS5741OhLf0jnLKXOBe6ihlyiz/R/AXc7R49L38m5mXvSwBgTnV"
    "5XmGOdXleeKcSjwKzqmETqT9DS0lD74Bod1NfisKM/C/ehNMxxNsVPIhXmnA9BZ5NePlgR"
    "/ObZvQ4SIP7n6ZHcJeb3/JDXavg86rp1frYH2WAeqzRKTPIkCL+kI0Rv7K14UH5Xanc57k"
    "hLqJGUczEw8JGhsPhMLoJ0dHd+SDwdH5JWhEiJ6Rjx32+iuixPdpI9Oy7HxEBeWKS1QfSK"
    "HkkSzpskYII6lFQg7gDDtqjY8uNMEMjSx7bHHurD8UlbzSNpdMyGHZ5iLTyeRJT2jRg8W0"
    "a1fu3a9dYmKJbLQSxK/Z7VktSJpmBu0js5lpDCUOzwVrVdKhgsWMMcV8bpNnQtXzyjlUoD"
    "hm98/EqA9FHCw8ZArjMX9uNeq7xRwSTFu1Wvl6qDjLVbADS7FehTI+7aBBUa/VQz65Guhh"
    "NhnD1RFcjYG4R7yQtics7VDEjnHWWLeU0gpVWqH2r4vYtjnEaTjx8GZwxFhKFxnsSv1Do6"
    "32VK2lNNpNpX1TQ+GUOwr1UO22lX6j01aaNRS4Xceasnk3DKcv04CUAYmZqic3iIjgWmQV"
    "bHk2iHb1NAPa1dNEtMWjINruOJIHZ5/IDq2E3uVOcD6rZjESVpOthNVIrZ6zmaifcUOsZZ"
    "kE04RK7ZcLe+WB4LbwXqbs1uXgutNpBowT143QQNr+2LpWoUuR2EMmg5cmox/cZFS6gJQu"
    "IEUmYgMuIF1oF91GvZ/mAxJr59M2ZcbyTZgP3qLlx29D5hsffIdoySntganw7MjQtWqY6R"
    "avQAPOZPpadSPZjGD9icHQUgZN8QINCJozoqPBAnHx1Fd61Py1hnyM4euPsPVu9Sv+LI1i"
    "RdEejlKMYv4qmFuli8iWat3aC/DLlpObhrBkScLGdOtg5/Zc/fogl3QjOnakU4h3tY6t+x"
    "tA+RB15zDG4RZfKGf2GD08XVnyq+vZdCXul8imKnkia2pKucSzKErLn1DqSYUZCUo9qbDE"
    "RL09crMQEiwpKLWk/dKS/KPeM0E+QAtZGOFQcy+SipRqRcpoOsptLiJy74zYXDCCr3nzaO"
    "h8ggYgdU84qDCg2BjUFM5OU8IYfDdoOWODMvRo8EmcUvTs8ko/qgJ392mqUOlHtUU3BolO"
    "LLhPe1F5skUGuvJJ7TbeNerSI0qrd27UGook3VEoYZlUQ/67O3rb7bQ6zoPlZbiDyuTrc5"
    "LF1+ck2dfnJOKDwqFLjlmZyUbfSnqHXj+3avum0X5fycmiKwYMOBd3VLkFMj6pNzXkXd3R"
    "rvqLWu+LNO9qHZ5Os/B0mszTaYQnZ7e5Rq04ZapPviUMIyGxQ/B+S3NMUX+TQ8PSJ8VDND"
    "5el5fdx0BdhPCKbuakxFzD+TAqeQj4b9v7EH7nA7EZNmMUpjSvuIBc6RVXesWVXnGlV1zR"
    "JimlV1zpFbfnXLyQX1fBtKCCbvPcF5S2aauUFSrGTOlVtGQLJfdyPGmc7FCCOMy6RKQMGf"
    "TLNBgX0TUcXZ8dowZnSHZScIewLc2OX8ULNDf165EMtO0KyMeu3fFr1Hi5g/c9bdz8p7Ji"
    "INQFBxVBSBOi5NsMOlMmIwu4pbmUuLXFq+cVmRkglzeyCSW+Sezo2sFrPAvgNt/hC/fznH"
    "eUNufS5lw05WHbe3f30GzZq39Qbz42XYNinsD2nmANLS+dmOrSnNnzzJm3yseeyOT8lzn6"
    "8nH/jtY7rdumKu2ay0tIVdp1VRbsXYFUv3N7K9/lXBTD/DkUPJoajDJs/S3bkUIKbI6rAI"
    "fdGhJ/72jnk9q9+ajWkHshFhs0YcFUu5rSbHY+C74iScVYYBiY1vAeFI4oab/0Ou34rtAv"
    "EzYqGUOO/ifVn6211P+M5nQoA6QN5obJDcqOxfv+m7fhKkwEV1ugRwLq2ONExMnj6BGDni"
    "YrItERXK9JWwpNAtd0K3jY4H0UNC6JAsJW8DJYwv4ES5gy7Tlrsn75QtN1yOuy+xKDYY/9"
    "FpzYIHkQXknsUG/MOeoUZh1PmCui4CYvVXv5D6Lu7nqRmtChpYsPWrPP98sXmYDK+15Lu6"
    "oh+e+Ofqz3tCpoyeLfOv12lrE3eeiNCVM0nhJ4kTYjtuYa16KM9KbYNJO3xiWUcUgLbWfV"
    "q8ulLUbcpFlfei1QjGM2H67sgHlWrH1iB7hcvSfL0x4mqevTOsG6aVCyBskh0f0huvJZRO"
    "QW29y5YZowVzS4OH2Ey7kjQ5Q8EFsEduTPniTuXXUonVR+CJpBP7HXozkoWR7KVmiWoQtb"
    "b/Dm+8YvdOnEOR3DFKdmeFtLhBlwgkUQP2Q9OHPKH6sKjAxqsMlaLT0kujdV4Yds6sZ0Zo"
    "l+OUpy8jq0T+SQpj3V0/Or87dnl+fLuc8yJW0CFJ37GPQBm3Gr+8mQriRKRGMQ1eeOz16c"
    "q1YiqEGhEtcYXK2ZUMmseUwfnwhrQKawZyu9GKQzLCJ5aIOF5sQBZrHrcqlbJZKKKPauic"
    "otdmKYkKG4kN5sPv9dqVItQyP/jMYWYUgkO/qXM6+GgW0+JRnPJNvR7ou9OZVvd2s9WZZ6"
    "sh/HN7ONYVzHnuyAsJIohvuBeG1u94POSJ4CIs3JRyLyD3QIwsaPdGMMbedIeB8ADSNjPL"
    "ehWfkdFKZYz3hm5a79EAgDld4x50zjt0vckCHkMOOJjRMPU+zIH7vlFKcxucZBDqQx6PqM"
    "ERLmwIVHsejehtBjjDfQvd2o9UZLab6uvj16G+rAPA7PY7aoMi52mmqegTLHiBSRLfhQ1H"
    "Km8WFDrfTudbx6hKzwv6PWwNIX6FFkE4sPwhQwLdL4I7YIJ+gQKb7Cfqnd6WinOWmqSw9r"
    "UAPmXB7PLc+6dJ3kfwY6IMXnIX/s/1HFcjP27ViiFL52CD3YesTFyxdWzZZhW7wvdUxosz"
    "n0dZRb4ZNLi8zaoZ8ILFgSTekVcw+a3dcTgb3FovxMBQWLS5XYKDQy7OWRwC5TRSem3K78"
    "0gSU4SSLQQToysKJxRrlpiEsuRYJBVsr+SFDn5cc1MqwqmUIiyISsdEQFgnj7yYALmPWJg"
    "H9UqH9C9apZ8U4NbJ/PMJlWOA8AKeFBY7Hd6nnbQLggwrPEsY2rBEHwIWPQO2PzWa2UEJO"
    "UWUwnJ2FeUk5qiPb+Rx5z+QgYrnZth6I7sRiscQCm+vQFx9v+on8ZTzpAuu5QqaM7fECsT"
    "2es3e53Lf8wvuW4XU8dvk3eeOnT6TItBV27+cexsIpQ3iXIbx32EJArzMeYkBPdUlZCRXb"
    "F2UTqG/QnaQM371rxKHnIDbFZqwdPFknDYkVuF9xvAvcydorhgwdYQ5TKTfgiePcSwnRhb"
    "9vRr/FbSux5XbVZOjLmOrRsaZ0UijXZfeYg3JR8GUWBcu1qm2sVWUx98cd7ry5gwMOcFkr"
    "aOPb2bkBewPPNtdKFGIbw0klZqXEfXKUeo75Ks9TqyTJMGx4reNHWeh45rbR5CUMMdlOjO"
    "gaD61P5CAMtSFb+MVFFmP4xUWyNVw8izjN5kHYzX6A6J6eZLOnphlUsy82JO/sTF5s2MHW"
    "zpcxqW5sH2ZEyU/WkzY/mH3/PxC74Ms="
)
