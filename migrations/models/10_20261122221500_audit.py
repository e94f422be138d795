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
    "eJztXW1z4rYW/isavnQ7k+Ym5G0ve+fOOMS7S8tLBtjdbpuOK7AAT4xMLZEs7d3/fo9kG/"
    "wemwAxxF8SW9aRzfPo5ejo6OifytTSicmOleGQMNa37gmt1NA/FYqnBC7iHh+hCp7NVg9F"
    "AscDU+bHMqPGlzkHjNt4yOHZCJuMQJJO2NA2ZtywxKsqChoQbBMbSZkasqi5QAZnqPdR+a"
    "l6cYkMhu7JjB+L4nRrCOUZdJxbck6Nv+YEPmxM+ITYIP/7H5BsUJ18I8y7nd1rI4OYegAD"
    "QxcFyHSNL2Yy7doYNyh/L/OK7xpoQ8ucT+kq/2zBJxZdChiUi9QxocTGnIg3cHsu8KBz03"
    "Th8yByPnaVxflKn4xORnhuClSFtPMBq7SKprU7fa2n9jWtEkHck/BB6SYNLSrYgk9lEoCx"
    "+ISf/l2tnp1dVU/OLt9enF9dXbw9eQt55fdGH119dz5mhZZTlMSs8aHR7osPsqBKOPVFJH"
    "yXMphjR0qSsUJfkqtNMJvEsUCxvYhnISgXYmOw4ISF+fDQTyPES1gxsqrW61NScWvsETqr"
    "ouW3Pc1QGtjNzrUoZMrYX6ZI+Kx0rxttpfv1TUv59Uf5aOE+anbaH7z8M4vxsS0Lqlx/7a"
    "uKpGdFh20BMBEi6hNsq3Q+lVQ04BsxHZIIJZ5siAz4RQWi4nND/aJ2a8j5f0d7avtG3Dv/"
    "72hLaSsfRIJ7cUc7t2pX6XcgybvKxl5lir9pJqFjPoHb08sUNoG8+kel++b08sdg+2m7T6"
    "ryUZCqoU0EnBrmUcJu4Ak3piS+7QQlQ3Tpruixd1Ec8rJ3bfAD9Q6MF26XmgJ9v9FSe32l"
    "dRtoTTdKXxVPqoGG5KW+CdO0LAR9afQ/InGLfuu01XCLW+br/1YR34Tn3NKo9ahh3df7e6"
    "keagHWybeZAaWtwXpQcgOsu59bFNL3hGQPk1SWbfIA49s6bTsoWbJcZJZBm7bmlGt5NdCg"
    "3NOa6D702DtTRsU8YHQfq4u6uEbJeG/ZxBjTX8giogGF0F9NqLyS9oyI715l81JXXYCNH5"
    "fTp1AdBATgdxPuaItKr67cqBUJ9QAP7x+xrWsBzMUTq2qFUpZ5o4+m1Wk4BVM8lviIHyI+"
    "O4R9/DzXoyV1jrvM9OT09svEQoxQnSFMdTTDC3aM1AdiQ60AlNFgzhHMR5E1E3XAsn9gCD"
    "pogzwyBFVowZBBmaHDc0qQ+97oRHhL7yinzAXupY5SpszyfwR/MUeLR9/Lv5l52csSEJhT"
    "XZ5nmFNdnifOqcSj4JxK6ETa39BS8uAbENrd5LeiMAP/qzfBdDzBRiUf4pUGTG+RVzNeHv"
    "jh3LYJHS7y4O6X2SHs9fbX3GD3Oui8enq1DtZnGaA+S0T6LAK0qC9EY+SvfF14UG53OudJ"
    "TqibmHE0M/GQoLHxQCiMfnJ0dEc+GBydX4JGhOgZ+dhhr78iSnyfNjIty85HVFCuuET1gR"
    "RKHsmSLmuEMJJaJOQAzrCj1vjoQhPM0MiyxxbnzvpDUckrbXPJhByWbS4ynUye9IQWPVhM"
    "u3bl3v/SJSaWyEYrQfya3Z7VgqRpZtA+MpuZxlDi8FywViUdKljMGFPM5zZ5JlQ9r5xDBY"
    "pjdv9MjPpQxMHCQ6YwHvPnVqO+W8whwbRVq5Wvh4qzXAU7sBTrVSjj0w4aFPVaPeSTq4Ee"
    "ZpMxXB3B1RiIe8QLaXvC0g5F7BhnjXVLKa1QpRVq/7qIbZtDnIYTD28GR4yldJHBrtQ/Nt"
    "pqT9VaSqPdVNo3NRROuaNQD9VuW+k3Om2lWUOB23WsKZt3w3D6Mg1IGZCYqXpyg4gIrkVW"
    "wZZng2hXTzOgXT1NRFs8CqLtjiN5cPaJ7NBK6F3uBOezahYjYTXZSliN1Oo5m4n6GTfEWp"
    "ZJME2o1H65sFceCG4L72XKbl0OrjudZsA4cd0IDaTtT61rFboUiT1kMnhpMnrlJqPSBaR0"
    "ASkyERtwAelCu+g26v00H5BYO5+2KTOWb8J88BYtP34bMt/44DtES05pD0yFZ0eGrlXDTL"
    "d4BRpwJtPXqhvJZgTrTwyGljJoihdoQNCcER0NFoiLp77So+avNeRjDF+/h613q1/xR2kU"
    "K4r2cJRiFPNXwdwqXUS2VOvWXoBftpzcNIQlSxI2plsHO7fn6tcHuaQb0bEjnUK8q3Vs3d"
    "8AyoeoO4cxDrf4Qjmzx+jh6cqSX13Ppitxv0Q2VckTWVNTyiWeRVFa/oRSTyrMSFDqSYUl"
    "JurtkZuFkGBJQakl7ZeW5B/1ngnyAVrIwgiHmnuRVKRUK1JG01FucxGRe2fE5oIRfM1Pj4"
    "bOJ2gAUveEgwoDio1BTeHsNCWMwXeDljM2KEOPBp/EKUXPLq/0oypwd5+mCpV+VFt0Y5Do"
    "xIL7tBeVJ1tkoCuf1W7jfaMuPaK0eudGraFI0h2FEpZJNeS/u6O33U6r4zxYXoY7qEy+Pi"
    "dZfH1Okn19TiI+KBy65JiVmWz0raR36PVzq7ZvGu0PlZwsumLAgHNxR5VbIOOzelND3tUd"
    "7ao/q/W+SPOu1uHpNAtPp8k8nUZ4cnaba9SKU6b65FvCMBISOwTvtzTHFPVXOTQsfVI8RO"
    "PjdXnZfQzURQiv6GZOSsw1nA+jkoeA/7a9D+F3PhCbYTNGYUrzigvIlV5xpVdc6RVXesUV"
    "bZJSesWVXnF7zsUL+XUVTAsq6DbPfUFpm7ZKWaFizJReRUu2UHIvx5PGyQ4liMOsS0TKkE"
    "G/TINxEV3D0fXZMWpwhmQnBXcI29Ls+Kd4geam/nkkA227AvKxa3f8M2q83MH7njZu/lNZ"
    "MRDqgoOKIKQJUfJtBp0pk5EF3NJcStza4tXziswMkMsb2YQS3yR2dO3gNZ4FcJvv8IX7ec"
    "47SptzaXMumvKw7b27e2i27NU/qjefmq5BMU9ge0+whpaXTkx1ac7seebMW+VTT2Ry/ssc"
    "ffm4f0frndZtU5V2zeUlpCrtuioL9q5Aqt+5vZXvci6KYf4cCh5NDUYZtv6W7UghBTbHVY"
    "DDbg2Jv3e081nt3nxSa8i9EIsNmrBgql1NaTY7XwRfkaRiLDAMTGt4DwpHlLSfe512fFfo"
    "lwkblYwhR/+T6s/WWup/RnM6lAHSBnPD5AZlx+J9/83bcBUmgqst0CMBdexxIuLkcfSIQU"
    "+TFZHoCK7XpC2FJoFruhU8bPA+ChqXRAFhK3gZLGF/giVMmfacNVm/fKHpOuR12X2JwbDH"
    "fgtObJA8CK8kdqg35hx1CrOOJ8wVUXCTl6q9/AdRd3e9SE3o0NLFB63Z5/vli0xA5UOvpV"
    "3VkPx3Rz/Ve1oVtGTxb51+O8vYmzz0xoQpGk8JvEibEVtzjWtRRnpTbJrJW+MSyjikhbaz"
    "6tXl0hYjbtKsL70WKMYxmw9XdsA8K9Y+sQNcrt6T5WkPk9T1aZ1g3TQoWYPkkOj+EF35Ii"
    "Jyi23u3DBNmCsaXJw+wuXckSFKHogtAjvyZ08S9646lE4qr4Jm0E/s9WgOSpaHshWaZejC"
    "1hu8+b7xC106cU7HMMWpGd7WEmEGnGARxA9ZD86c8nVVgZFBDTZZq6WHRPemKrzKpu5WeJ"
    "jPzO3xWnTHl7A3rFd6Bsy4Pfs/83oAx0mDWsi06Bi0OnHK+juZQboIyMevr1cwpjNLjOLR"
    "OpLsteATOaRJcvX0/Or87dnl+XKmvExJmy5HZ8oGfcBmnC9IMqQriRLRGET1uePhGefYlw"
    "hqUKjENQZXayYUeGseM0QkwhqQKexJXC8G6QyLuC/aYKE5UaNZ7Cpu6saapCKKvcemcoud"
    "iDdkKC7kyOrz9pYK+DKQ9js0tmBEFsmOtu5YYWBgm09JxhPsdrRXZ2/OcNzdymCWhcHshz"
    "fObGMY17Enu6usJIrhrCJem9tZpTOSZ8bIxYcjEScKOgSxIoR0Ywxt50j4qgANI2M8t6FZ"
    "+d1Zplh/vqq6Fa8VwmAq4Bj/pvGba27IEHKY8cTGiYcpduSP3XKK05hcUzIH0hh0fcYICe"
    "PxwqNYdG9D6DHGG+jebtR6o6U031TfHr0NdWAeh+cxG5oZF/uSNc+cnWNEisgWfChqeVO+"
    "oFlfTvQcHzAhK7w1qTWw9AV6FNnEUpUwHE2LNP6IDeUJOkSKZ7lfanc62mlOmurSHx/UgD"
    "mXh7nLk1HdLRXvgA5I8e2nOPb/qGI5pfv2t1EKXzuEHmw94uLlC6tmyyA/3pc6BtfZHPo6"
    "yq3wObdFZu3Qz48WLImm9ANzjyXe1/OjvaXF/EwFBYtLldhWNjLs5QHSLlNFJ6bc3P7SBJ"
    "TBR4tBBOjKwuXJGuWmISy5FgkFW1l7lYHySw5qZRDeMuBJEYnYaMCThPF3EwCXEY6TgH6p"
    "gyAK1qlnxTj1HIh4hMsg0nkATgsiHY/vUs/bBMAHFcwnjG1YIw6ACx+B2p+azWyBp5yiyt"
    "BJOwsKlHKwS7bTXPKe4ELEcrNtPRDdidxjiQU21/krPjr5E/nL6OMF1nOFTBkJ5gUiwTxn"
    "p3u5y/2Fd7nD63js8m/yNmGfSJFpK+xO4T2MnFQGfC8Dvu+whYBeZzzEgJ7qkrISKrYvyi"
    "ZQ36A7SRnsfdeIQ89BbIrNWDt4sk4aEitwv+J4F7iTtR8YMnSEOUyl3PA4jnMvJUQX/r4Z"
    "/Ra3rcSWm5uToS8j8EfHmtJJoVyX3WMOykXBl1kULNeqtrFWlcXcH3cU+OaOmTjAZa2gjW"
    "9np0zsDTzbXCtRiG0MJ5WYlRL3yVHqqferPE+tkiTDsOG1jtey0PHMbaPJSxhisp0Y/zce"
    "Wp/IQRhqQ7bwi4ssxvCLi2RruHgWcZrNg7Cb/QDRPT3JZk9NM6hmX2xI3tmZvNiwg62dL2"
    "NS3dg+zIiSn6wnbX4w+/5/fOSWDw=="
)
