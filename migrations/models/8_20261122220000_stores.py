"""Messages in stores that are dropped whole, segments by the day, and which tasks' messages were purged.

What is there already becomes the first store, and the first day, as it is: nothing is rewritten. Its rows are
read once, and the key of the segments is built anew.
"""

from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return TASK + STORES + SEGMENTS


async def downgrade(db: BaseDBAsyncClient) -> str:
    return DOWNGRADE


TASK = """
ALTER TABLE task ADD messages_purged_at TIMESTAMPTZ;
CREATE INDEX task_to_purge ON task (finished_at) WHERE messages_purged_at IS NULL AND finished_at IS NOT NULL;

-- When the daily purge last began: whoever sets this does it.
CREATE TABLE purge (began_at TIMESTAMPTZ NOT NULL);
INSERT INTO purge VALUES ('-infinity');
"""

STORES = """
-- A store has the messages and rejected rows of the tasks from `first_task` to before `end_task`: its tables
-- are the partitions message_<number> and rejected_row_<number>. A large task has one of its own.
CREATE TABLE message_store (
    number BIGINT NOT NULL PRIMARY KEY,
    first_task BIGINT NOT NULL,
    end_task BIGINT NOT NULL,
    shared BOOL NOT NULL,
    opened_at TIMESTAMPTZ NOT NULL DEFAULT groupsms_now(),
    dropping_at TIMESTAMPTZ,
    CHECK (first_task < end_task)
);

-- Let the next task's id be the first of a store of its own, and those after it belong to the next one.
CREATE FUNCTION groupsms_own_store(tasks_a_store bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE own bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(4710233);
    SELECT last_value / tasks_a_store + 1 INTO own FROM task_id_seq;
    PERFORM setval('task_id_seq', (own + 1) * tasks_a_store);
    RETURN own;
END
$$;

-- Let no more tasks come to a store, unless that is so already.
CREATE FUNCTION groupsms_close_store(store bigint, tasks_a_store bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4710233);
    PERFORM setval('task_id_seq', (store + 1) * tasks_a_store)
    FROM task_id_seq WHERE last_value / tasks_a_store = store;
END
$$;

ALTER TABLE message RENAME TO message_0;
ALTER INDEX message_pkey RENAME TO message_0_pkey;
CREATE TABLE message (LIKE message_0 INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (task_id);
ALTER TABLE message ADD PRIMARY KEY (task_id, position);

ALTER TABLE rejected_row RENAME TO rejected_row_0;
ALTER INDEX rejected_row_pkey RENAME TO rejected_row_0_pkey;
CREATE TABLE rejected_row (LIKE rejected_row_0 INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (task_id);
ALTER TABLE rejected_row ADD PRIMARY KEY (task_id, row);

-- The first store that tasks come to now is made here: processes of the version before, which know of no
-- stores, go on importing while they are replaced one by one.
DO $$
DECLARE
    next_task bigint;
    store bigint;
BEGIN
    SELECT (last_value / 10000 + 1) * 10000 INTO next_task FROM task_id_seq WHERE is_called;
    IF next_task IS NULL THEN
        DROP TABLE message_0, rejected_row_0;
        next_task := 0;
    ELSE
        PERFORM setval('task_id_seq', next_task);
        INSERT INTO message_store (number, first_task, end_task, shared) VALUES (0, 0, next_task, TRUE);
        EXECUTE format(
            'ALTER TABLE message ATTACH PARTITION message_0 FOR VALUES FROM (0) TO (%s)', next_task
        );
        EXECUTE format(
            'ALTER TABLE rejected_row ATTACH PARTITION rejected_row_0 FOR VALUES FROM (0) TO (%s)', next_task
        );
    END IF;
    store := next_task / 10000;
    INSERT INTO message_store (number, first_task, end_task, shared)
    VALUES (store, next_task, next_task + 10000, TRUE);
    EXECUTE format(
        'CREATE TABLE message_%s PARTITION OF message FOR VALUES FROM (%s) TO (%s) WITH (fillfactor = 50)',
        store, next_task, next_task + 10000
    );
    EXECUTE format(
        'CREATE TABLE rejected_row_%s PARTITION OF rejected_row FOR VALUES FROM (%s) TO (%s)',
        store, next_task, next_task + 10000
    );
END
$$;
"""

# The key has the day in it, for it must. That a segment is stored once is seen to by its message, which is
# settled once and in the same statement.
SEGMENTS = """
ALTER TABLE segment RENAME TO segment_before;
ALTER TABLE segment_before DROP CONSTRAINT segment_pkey;
ALTER INDEX segment_by_gateway_message_id RENAME TO segment_before_by_gateway_message_id;
ALTER INDEX segment_without_id RENAME TO segment_before_without_id;
CREATE TABLE segment (LIKE segment_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (submitted_at);
ALTER TABLE segment ADD PRIMARY KEY (task_id, position, index, submitted_at);
CREATE INDEX segment_by_gateway_message_id ON segment (gateway_message_id)
    WHERE gateway_message_id IS NOT NULL;
CREATE INDEX segment_without_id ON segment (number) WHERE gateway_message_id IS NULL;

DO $$
DECLARE
    today date := (groupsms_now() AT TIME ZONE 'UTC')::date;
    first_free date := today;
    old_name text;
BEGIN
    IF EXISTS (SELECT FROM segment_before) THEN
        SELECT greatest(today, (max(submitted_at) AT TIME ZONE 'UTC')::date) INTO first_free
        FROM segment_before;
        old_name := 'segment_' || to_char(first_free, 'YYYYMMDD');
        first_free := first_free + 1;
        EXECUTE format('ALTER TABLE segment_before RENAME TO %I', old_name);
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (task_id, position, index, submitted_at)', old_name);
        EXECUTE format(
            'ALTER TABLE segment ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
            old_name, first_free::timestamp AT TIME ZONE 'UTC'
        );
    ELSE
        DROP TABLE segment_before;
    END IF;
    FOR day IN 0..2 LOOP
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF segment FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 50)',
            'segment_' || to_char(first_free + day, 'YYYYMMDD'),
            (first_free + day)::timestamp AT TIME ZONE 'UTC',
            (first_free + day + 1)::timestamp AT TIME ZONE 'UTC'
        );
    END LOOP;
END
$$;
"""

DOWNGRADE = """
CREATE TABLE segment_all (LIKE segment INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (fillfactor = 75);
INSERT INTO segment_all SELECT * FROM segment;
DROP TABLE segment;
ALTER TABLE segment_all RENAME TO segment;
ALTER TABLE segment ADD PRIMARY KEY (task_id, position, index);
CREATE INDEX segment_by_gateway_message_id ON segment (gateway_message_id)
    WHERE gateway_message_id IS NOT NULL;
CREATE INDEX segment_without_id ON segment (number) WHERE gateway_message_id IS NULL;

CREATE TABLE message_all (LIKE message INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (fillfactor = 75);
INSERT INTO message_all SELECT * FROM message;
DROP TABLE message;
ALTER TABLE message_all RENAME TO message;
ALTER TABLE message ADD PRIMARY KEY (task_id, position);

CREATE TABLE rejected_row_all (LIKE rejected_row INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
INSERT INTO rejected_row_all SELECT * FROM rejected_row;
DROP TABLE rejected_row;
ALTER TABLE rejected_row_all RENAME TO rejected_row;
ALTER TABLE rejected_row ADD PRIMARY KEY (task_id, row);

DROP FUNCTION groupsms_own_store(bigint), groupsms_close_store(bigint, bigint);
DROP TABLE message_store, purge;
DROP INDEX task_to_purge;
ALTER TABLE task DROP COLUMN messages_purged_at;
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
