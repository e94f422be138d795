"""What the rules need beyond sending: prices and charges, idempotency keys, opt-outs, kept lists."""

from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return TASK + PER_TASK + PER_ACCOUNT


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        DROP TABLE kept_list, opt_out, idempotency_key, task_failure, task_charge;
        DROP INDEX task_same_text, task_running, task_stopping;
        ALTER TABLE chunk DROP COLUMN recheck, DROP COLUMN wait_until;
        ALTER TABLE segment DROP COLUMN charged;
        ALTER TABLE message DROP COLUMN resent;
        ALTER TABLE task
            DROP COLUMN estimated_amount, DROP COLUMN prices, DROP COLUMN currency,
            DROP COLUMN resend_of_id, DROP COLUMN paused_by_suspension, DROP COLUMN sms_type;
    """


TASK = """
ALTER TABLE task
    ADD sms_type VARCHAR(20) NOT NULL DEFAULT 'NOTIFICATION'
        CHECK (sms_type IN ('VERIFICATION_CODE', 'NOTIFICATION', 'PROMOTION')),
    ADD paused_by_suspension BOOL NOT NULL DEFAULT FALSE,
    ADD resend_of_id BIGINT REFERENCES task (id) ON DELETE SET NULL,
    ADD currency VARCHAR(3) NOT NULL DEFAULT 'CNY',
    ADD prices JSONB NOT NULL DEFAULT '{}',
    ADD estimated_amount DECIMAL(28, 8) NOT NULL DEFAULT 0;
UPDATE task SET sms_type = template.type, currency = account.currency
FROM template, account
WHERE template.id = task.template_id AND account.id = task.account_id;
ALTER TABLE task ALTER sms_type DROP DEFAULT, ALTER currency DROP DEFAULT;
CREATE INDEX task_same_text ON task (account_id, md5(text), created_at);
CREATE INDEX task_resends ON task (resend_of_id) WHERE resend_of_id IS NOT NULL;
CREATE INDEX task_running ON task (application_id) WHERE status IN ('SENDING', 'PAUSED');
CREATE INDEX task_stopping ON task (id) WHERE status = 'STOPPED' AND NOT rest_not_sent;

-- Part of a chunk may have to wait for the hours in which promotion is allowed.
ALTER TABLE chunk ADD wait_until TIMESTAMPTZ;

-- Numbers opted out while a worker held it: to be given back, and looked through by the next claim.
ALTER TABLE chunk ADD recheck BOOL NOT NULL DEFAULT FALSE;

-- Whether a failed message is part of another task by now.
ALTER TABLE message ADD resent BOOL NOT NULL DEFAULT FALSE;

-- Whether it is among the segments that task_charge counts.
ALTER TABLE segment ADD charged BOOL NOT NULL DEFAULT FALSE;
"""

PER_TASK = """
-- Segments charged so far, by their price; spread and summed like task_counter.
CREATE TABLE task_charge (
    task_id BIGINT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    shard SMALLINT NOT NULL,
    unit_price DECIMAL(14, 8) NOT NULL,
    segments BIGINT NOT NULL,
    PRIMARY KEY (task_id, shard, unit_price)
) WITH (fillfactor = 25);

-- Failed messages by their code; spread and summed like task_counter.
CREATE TABLE task_failure (
    task_id BIGINT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    shard SMALLINT NOT NULL,
    error_code TEXT NOT NULL,
    messages INT NOT NULL,
    PRIMARY KEY (task_id, shard, error_code)
) WITH (fillfactor = 25);
INSERT INTO task_failure (task_id, shard, error_code, messages)
SELECT m.task_id, 0, coalesce(m.error_code, ''), count(*)
FROM message m JOIN task ON task.id = m.task_id WHERE m.result = 3 GROUP BY 1, 3;
"""

PER_ACCOUNT = """
-- A request's key: held under a lease while the request is worked on, bound to its task when that is stored.
CREATE TABLE idempotency_key (
    account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    owner UUID NOT NULL,
    lease_until TIMESTAMPTZ NOT NULL,
    answer JSONB,
    expires_at TIMESTAMPTZ,
    PRIMARY KEY (account_id, key),
    CHECK ((answer IS NULL) = (expires_at IS NULL))
);
CREATE INDEX idempotency_key_expiry ON idempotency_key (expires_at);

-- Numbers an account never texts.
CREATE TABLE opt_out (
    account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT groupsms_now(),
    source TEXT NOT NULL,
    PRIMARY KEY (account_id, number)
);

-- A recipient list that was previewed, kept for a while so that it need not be uploaded again.
CREATE TABLE kept_list (
    id UUID NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    content BYTEA NOT NULL,
    is_file BOOL NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX kept_list_expiry ON kept_list (expires_at);
ALTER TABLE kept_list ALTER content SET STORAGE EXTERNAL;
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
