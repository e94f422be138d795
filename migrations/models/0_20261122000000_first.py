"""The first schema.

Tables with a model are as aerich wrote them, with what it leaves out put back: CHECKs and partial indexes.
Tables without a model hold what exists once a number; each says below how it is meant to be used.
"""

from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return MODELLED + CLOCK + PER_NUMBER + CHANGE_FEED


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        DROP FUNCTION task_revision(task);
        DROP TABLE aerich, task_tombstone, receipt_inbox, segment, message, rejected_row, task_counter, chunk,
            task, application_template, application_signature, template, signature, application,
            access_token, account;
        DROP FUNCTION groupsms_now();
    """


MODELLED = """
CREATE TABLE account (
    id BIGSERIAL NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL UNIQUE,
    time_zone VARCHAR(64) NOT NULL,
    currency VARCHAR(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    change_seq BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE access_token (
    id BIGSERIAL NOT NULL PRIMARY KEY,
    token_hash BYTEA NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    role VARCHAR(16) NOT NULL CHECK (role IN ('VIEWER', 'SENDER', 'MANAGER', 'OPERATOR')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE CASCADE
);

CREATE TABLE application (
    id BIGSERIAL NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    region VARCHAR(16) NOT NULL CHECK (region IN ('CHINESE_MAINLAND', 'INTERNATIONAL')),
    sender_number VARCHAR(21),
    gateway VARCHAR(32) NOT NULL,
    suspended BOOL NOT NULL DEFAULT FALSE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE RESTRICT
);
CREATE INDEX application_of_account ON application (account_id, id);

CREATE TABLE signature (
    id BIGSERIAL NOT NULL PRIMARY KEY,
    name VARCHAR(32) NOT NULL,
    type VARCHAR(20) NOT NULL CHECK (type IN ('VERIFICATION_CODE', 'NOTIFICATION', 'PROMOTION')),
    status VARCHAR(10) NOT NULL CHECK (status IN ('PENDING', 'APPROVED', 'REJECTED')),
    review_note TEXT,
    channel_number VARCHAR(21),
    universal BOOL NOT NULL DEFAULT FALSE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE RESTRICT
);
CREATE INDEX signature_of_account ON signature (account_id, id);

CREATE TABLE application_signature (
    id BIGSERIAL NOT NULL PRIMARY KEY,
    application_id BIGINT NOT NULL REFERENCES application (id) ON DELETE CASCADE,
    signature_id BIGINT NOT NULL REFERENCES signature (id) ON DELETE CASCADE,
    CONSTRAINT uid_application_applica_008ec3 UNIQUE (application_id, signature_id)
);

CREATE TABLE template (
    id BIGSERIAL NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    type VARCHAR(20) NOT NULL CHECK (type IN ('VERIFICATION_CODE', 'NOTIFICATION', 'PROMOTION')),
    content TEXT NOT NULL,
    status VARCHAR(10) NOT NULL CHECK (status IN ('PENDING', 'APPROVED', 'REJECTED')),
    review_note TEXT,
    active BOOL NOT NULL DEFAULT FALSE,
    universal BOOL NOT NULL DEFAULT FALSE,
    external_id VARCHAR(64),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE RESTRICT,
    signature_id BIGINT REFERENCES signature (id) ON DELETE RESTRICT
);
CREATE INDEX template_of_account ON template (account_id, id);

CREATE TABLE application_template (
    id BIGSERIAL NOT NULL PRIMARY KEY,
    application_id BIGINT NOT NULL REFERENCES application (id) ON DELETE CASCADE,
    template_id BIGINT NOT NULL REFERENCES template (id) ON DELETE CASCADE,
    CONSTRAINT uid_application_applica_6be43d UNIQUE (application_id, template_id)
);

CREATE TABLE task (
    id BIGSERIAL NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    status VARCHAR(10) NOT NULL CHECK (
        status IN ('SCHEDULED', 'SENDING', 'PAUSED', 'SENT', 'COMPLETED', 'CANCELED', 'STOPPED')
    ),
    cancel_reason VARCHAR(20) CHECK (cancel_reason IN ('USER', 'OVERDUE', 'NO_LONGER_ALLOWED')),
    blockers JSONB NOT NULL DEFAULT '[]',
    region VARCHAR(16) NOT NULL CHECK (region IN ('CHINESE_MAINLAND', 'INTERNATIONAL')),
    gateway VARCHAR(32) NOT NULL,
    sender VARCHAR(21) NOT NULL,
    text TEXT NOT NULL,
    encoding VARCHAR(6) NOT NULL CHECK (encoding IN ('GSM_7', 'UCS_2')),
    segments_per_message SMALLINT NOT NULL CHECK (segments_per_message > 0),
    send_at TIMESTAMPTZ NOT NULL,
    deadline_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    sent_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    imported INT NOT NULL CHECK (imported > 0),
    invalid INT NOT NULL CHECK (invalid >= 0),
    duplicates INT NOT NULL CHECK (duplicates >= 0),
    opted_out INT NOT NULL DEFAULT 0 CHECK (opted_out >= 0),
    rest_not_sent BOOL NOT NULL DEFAULT FALSE,
    revision BIGINT NOT NULL DEFAULT 1,
    announced_revision BIGINT NOT NULL DEFAULT 0,
    change_seq BIGINT NOT NULL DEFAULT 0,
    account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE RESTRICT,
    application_id BIGINT NOT NULL REFERENCES application (id) ON DELETE RESTRICT,
    signature_id BIGINT REFERENCES signature (id) ON DELETE RESTRICT,
    template_id BIGINT NOT NULL REFERENCES template (id) ON DELETE RESTRICT,
    CHECK ((status = 'CANCELED') = (cancel_reason IS NOT NULL))
);
CREATE INDEX idx_task_account_d09a6d ON task (account_id, created_at, id);
CREATE INDEX idx_task_account_f5981e ON task (account_id, send_at, id);
CREATE INDEX idx_task_account_950189 ON task (account_id, name, id);
CREATE INDEX idx_task_account_fcd0b4 ON task (account_id, change_seq);
CREATE INDEX task_scheduled ON task (send_at) WHERE status = 'SCHEDULED';
CREATE INDEX task_sending ON task (gateway, id) WHERE status = 'SENDING';
CREATE INDEX task_open ON task (id) WHERE status IN ('SENDING', 'SENT');

CREATE TABLE aerich (
    id SERIAL NOT NULL PRIMARY KEY,
    version VARCHAR(255) NOT NULL,
    app VARCHAR(100) NOT NULL,
    content JSONB NOT NULL
);
"""

# One clock for all machines, which a test can move: `ALTER SYSTEM SET groupsms.clock_offset = '25 hours'`.
CLOCK = """
CREATE FUNCTION groupsms_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT statement_timestamp()
        + coalesce(nullif(current_setting('groupsms.clock_offset', true), '')::interval, interval '0')
$$;
"""

# result: 0 WAITING, 1 UNKNOWN, 2 DELIVERED, 3 FAILED, 4 NOT_SENT.  handover: 0 NONE, 1 CONFIRMED, 2 IN_DOUBT.
PER_NUMBER = """
-- One row a number: written by COPY, updated once when it is handed over and once by its receipt. Only the
-- primary key is indexed and pages are left a quarter empty, so that both updates stay on the page (HOT).
CREATE TABLE message (
    task_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    received_at TIMESTAMPTZ,
    position INT NOT NULL,
    result SMALLINT NOT NULL DEFAULT 0 CHECK (result BETWEEN 0 AND 4),
    handover SMALLINT NOT NULL DEFAULT 0 CHECK (handover BETWEEN 0 AND 2),
    error_code TEXT,
    PRIMARY KEY (task_id, position)
) WITH (fillfactor = 75);

-- One row a segment that was given to a gateway, with the id its receipts will carry.
CREATE TABLE segment (
    task_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    submitted_at TIMESTAMPTZ NOT NULL,
    received_at TIMESTAMPTZ,
    position INT NOT NULL,
    index SMALLINT NOT NULL,
    result SMALLINT NOT NULL CHECK (result BETWEEN 1 AND 3),
    gateway TEXT NOT NULL,
    gateway_message_id TEXT,
    error_code TEXT,
    PRIMARY KEY (task_id, position, index)
) WITH (fillfactor = 75);
CREATE INDEX segment_by_gateway_message_id ON segment (gateway_message_id)
    WHERE gateway_message_id IS NOT NULL;

-- A run of consecutive messages, claimed as one. state: 0 waiting, 1 leased, 2 done. Messages up to `marked`
-- may have been put on the wire; those in `returned` are known not to have reached the gateway.
CREATE TABLE chunk (
    task_id BIGINT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    index INT NOT NULL,
    first INT NOT NULL,
    last INT NOT NULL,
    marked INT NOT NULL,
    state SMALLINT NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    owner UUID,
    lease_until TIMESTAMPTZ,
    returned INT[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (task_id, index),
    CHECK (first <= last AND marked BETWEEN first - 1 AND last),
    CHECK ((state = 1) = (owner IS NOT NULL AND lease_until IS NOT NULL))
) WITH (fillfactor = 50);
CREATE INDEX chunk_waiting ON chunk (task_id, index) WHERE state = 0;
CREATE INDEX chunk_leased ON chunk (lease_until) WHERE state = 1;

-- A task's counters, spread over a few rows so that workers do not queue for one; summed on reading.
CREATE TABLE task_counter (
    task_id BIGINT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    shard SMALLINT NOT NULL,
    revision BIGINT NOT NULL DEFAULT 0,
    unknown INT NOT NULL DEFAULT 0,
    in_doubt INT NOT NULL DEFAULT 0,
    delivered INT NOT NULL DEFAULT 0,
    failed INT NOT NULL DEFAULT 0,
    not_sent INT NOT NULL DEFAULT 0,
    PRIMARY KEY (task_id, shard)
) WITH (fillfactor = 25);

-- Rows of the recipient list that were deleted. reason: the position in domain.states.RowRejection.
CREATE TABLE rejected_row (
    task_id BIGINT NOT NULL,
    row INT NOT NULL,
    reason SMALLINT NOT NULL CHECK (reason BETWEEN 0 AND 7),
    value TEXT NOT NULL,
    PRIMARY KEY (task_id, row)
);

-- Receipts wait here, committed and acknowledged, until their segment is found. state: 0 delivered, 1 failed,
-- 2 not final.
CREATE TABLE receipt_inbox (
    id BIGSERIAL NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    stored_at TIMESTAMPTZ NOT NULL DEFAULT groupsms_now(),
    state SMALLINT NOT NULL CHECK (state BETWEEN 0 AND 2),
    gateway TEXT NOT NULL,
    gateway_message_id TEXT NOT NULL,
    status TEXT NOT NULL,
    error_code TEXT
);
CREATE INDEX receipt_inbox_by_gateway_message_id ON receipt_inbox (gateway_message_id);
"""

CHANGE_FEED = """
-- A task's revision: it rises with every change, those of the counters included.
CREATE FUNCTION task_revision(task) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT $1.revision + (SELECT coalesce(sum(revision), 0)::bigint FROM task_counter WHERE task_id = $1.id)
$$;

-- What remains of a deleted task: its place in the change feed, until its numbers are gone and some days
-- have passed.
CREATE TABLE task_tombstone (
    task_id BIGINT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    change_seq BIGINT NOT NULL,
    deleted_at TIMESTAMPTZ NOT NULL,
    emptied_at TIMESTAMPTZ
);
CREATE INDEX task_tombstone_feed ON task_tombstone (account_id, change_seq);
CREATE INDEX task_tombstone_full ON task_tombstone (task_id) WHERE emptied_at IS NULL;
"""


MODELS_STATE = (
    "eJztXWtz2rga/isaf2l3Js0m5NbDOXNmHOK27AbIAG23u9lxBVbAEyNTS4Ryuv3vR5Jt8D"
    "02AWITfUlsWa9snkeS35vkH8rENpBFDtXhEBHSt+8RVurgh4LhBLGDpMsHQIHT6eoiL6Bw"
    "YIn6UFTU6bLmgFAHDim7dgctgliRgcjQMafUtPmtFBUMEHSQA4RMHdjYWgCTEtD7oL6pnZ"
    "0Dk4B7NKWHvDnDHrL2TDwqLDnD5rcZYg82QnSMHCb/19+s2MQG+o6Ifzq91+9MZBkhDEyD"
    "NyDKdbqYirJLc9TE9J2oy59roA9tazbBq/rTBR3beClgYspLRwgjB1LE70CdGccDzyzLg8"
    "+HyH3YVRX3KQMyBrqDM4ujyqXdB1iVKbre7vT1ntbXdSWGuC8RgNIrGtqYs8UelQgARvwR"
    "3vyrVjs5uagdnZy/PTu9uDh7e/SW1RXPG7908dN9mBVablMCs+b7ZrvPH8hmXcLtL7zgp5"
    "CBFLpSgowV+oJcfQzJOIkFDJ1FMgthuQgbgwVFJMqHj34WIX7BipFVt16fEsXrsQfgpAaW"
    "z/Y4Q1lgX3cueSMTQr5ZvOCT2r1sttXul9ct9Y9fxKWFd+m6037v15/ahI4c0ZBy+aWvqY"
    "KeFR2OzYCJEdEYQ0fDs4mgosmeEeIhilHiy0bIYL+oRFR8amqftW4duP9vcU9rX/Fz9/8t"
    "bqlt9T0v8A5ucedG66r9Divyj/Kxp0zgd91CeETH7PT4PINNRl7jg9p9fXz+S3j8tL0rNX"
    "EpTNXQQRxOHdI4YVfsCjUnKHnshCUjdBme6KF/UB7y8k9t7AcaHfa+8KbUDOj7zZbW66ut"
    "m9BoulL7Gr9SCw0kv/R1lKZlI+Bzs/8B8FPwZ6etRUfcsl7/T4U/E5xRW8f2XIdGYPb3S3"
    "3UQqyj71OTtbYG62HJDbDuPW5ZSK8IyT4mmSw76IG939YZ22FJyXKZWWbatD3DVC+qgYbl"
    "HtdEqzBj70wZ5XbA3X2iLurhGifjne0gc4R/R4uYBhRBf2VQ+S1VjIiffmfzS1dTgAPnS/"
    "Mp0gcZAux3I+pqi2qvoV5pioB6AIf3c+gYeghzfsWu2ZGSZd34pUltEi2BGI4EPvyH8MeO"
    "YJ9s5/q0ZNq4y0qPmrefxzYgCBsEQGyAKVyQQ6A9IIf1CoYyGMwoYPYosKe8D9jOKwLYBG"
    "2iOQGsCy0IMDExDXYdI+DdN24Ib+ke0mQu8Sx1kGEyi/8x/LmNloy+X38zdtnzEhCyqc5P"
    "c9hU56epNhW/FLapuE6k/4+NlCL4hoR2Z/wqKjHhr70xxKMxNJViiCtNZt4Cv2c8P/DDme"
    "MgPFwUwT0os0PYG+0vhcHudcBp7fhiHaxPckB9kor0SQxo3l+QTtC3YlN4WG53OudRQaiv"
    "IaFgasEhAiPzAWH29hNvR+/Nx16O7i8BdwgZOfnY4awv3Tsvz70Ts0jS9eaI35wkjGFP7t"
    "3vXWRBgWyWlRIM+1SsF6RZKmETezq1zKHA4algrVraV7AIs3EhnTnoiVD1/Hb2FSgKyf0T"
    "MeqzJvYWHjRhb2D61G7U95rZJ5i26vgIzFBJzo/wBJbhAIlUfDzGj0Gv1QMBuTqAwEEjdn"
    "TAjkaMuDlcCPcFFK4M5CTE+9dtRToypCOjelPEti1qd+Akw5sjlr+ULjPYSuNDs631NL2l"
    "NtvXavuqDqIlt5j1Q63bVvvNTlu9roPQ6ToG+eYj+e5cpjNSBsgpMiBigmuRVbIIXxjt2n"
    "EOtGvHqWjzS2G0vfdIEZwDIjt0NPmHO8H5pJbHz1RLdzTVYr16Rqa8fya9Ym3bQhCndOqg"
    "XDSxiwluC+9lyW6j1pedznXIOXHZjLxI2x9blxqbUgT2rJJJpcvohbuMZBaBzCIoMxEbyC"
    "LosnHRbTb6WWkEiX4+fVNurIDBvPcerSB+G3LfBODbR0+O9AdmwrMjR9dqYGZ7vEIDOJfr"
    "azWN5HOC9ccmAUsZMIELMEBgRpABBgtA+dVA63H31xryCY6vv6Leu9Wv+Fs6xcqiPRxkOM"
    "WCXbCwSheTlWrd2gH45cgpTENUUpKwMd06PLk9Vb/ey5BuTMeOTQrJ2bqJfX8DKO+j7hzF"
    "ODriS5UPnaCHZytLQXU9n65EgxL5VCVfZE1NqZB4HkVp+ROknlSaN4HUk0pLTDzbozALEU"
    "FJgdSSqqUlBd96TwR5Dz1kUYQjw71MKlKmFymn66iwuwiJ5Rc8P/2OPc2buWnQMRgwqXtE"
    "mQrDFBsTWzzZaYIIYc/NtJyRiQmYm3ScpBQ9uT2ZR1Xi6T5LFZJ5VFtMYxDoJIL7eBaVL1"
    "tmoJVPWrf5rtkQGVF6o3Ol1UGs6BazFpZFdRA8u8U33U6r415YHkYnqFy5Pkd5cn2O0nN9"
    "jmI5KJRNyQmRmXz0raR3mPVzo7Wvmu33SkEWPTHGgHtwi9UbRsYn7aoO/KNb3NV+0xp9Xu"
    "YfrcPTcR6ejtN5Oo7x5C5Y1rGdpEz10feU10hEbB+y37ISU7Q/xKthmZPiI5q85ZNfPcBA"
    "g+8CFV8PiJG1RvJhXHIf8N929iH7nQ/IIdBKUJiysuJCcjIrTmbFyaw4mRVXNiNFZsXJrL"
    "iKc/FMeV0l04JKusyzKiht01cpOlSCm9LvaOkeSurXeNQ52cEIUGZ1gTvbEftGWSahwL4D"
    "rq5PDkGTEiAmKXYGoCPcjl/5DXSv9OuB2KvZExCXPb/j17jzcgf3e9y5+UNZMRCZgsOKIC"
    "vjouj7lE2mROws4LXmUeL1Fr+fK6Iyg1yciCGUeie+omsHt/E9gNu8R2DHmKfcQ/qcpc+5"
    "bMrDttfuVtBt2Wt80K4+XnsOxSJ7o/uCdbA8dLflFu7Mnu/OvFE/9ngl97+o0ReX+7e40W"
    "ndXGvCr7k8ZKVqu6GJhv0jJtXv3NyIe7kH5XB/DjmPls7eMmT9JduxRkrsjlMYh9064H9v"
    "ceeT1r36qNWBd8CDDTr3YGpdXb2+7nzmfMWKyhFgGFj28J4pHHHSfut12slTYVAm6lQyhx"
    "T8I9SfrY3U/9zN8JDzAAYz06ImJof8fv8tOnAbTMMkB2A+Rhi4fQ8ZAJJ1mcpghkOZ7fiO"
    "+rgPwv4k3kDU8S33R6jM/ghVWbFf4Si3u5NEEYRXEjvUMgrOUaWJ+nDjtkhg06+/F3131y"
    "FNhIe2wR9ozbk9KF9mApT3vZZ+UQfi3y3+2OjpNaZT8X/rzNt5pu30WTthU5vRBLEb6VPk"
    "6J4rJs5IbwItK30hVUob+xSWOaldnC8td36SZav3WkynSliqtvIaFYlvBsT2MLhZkWCmj0"
    "lmNNNA0LBMjNYgOSJaHaKVz2NI+Uf+CDUtC8yhSfnnDii3N1gpRg/I4dsA0ifbF5XrDjKl"
    "4UXQzPQTZz2aw5LyK1ClZplNYeu9vGnV+GVTOnK347f4Nv3+QoQ5JGAM+ZZvwH5wbcqX1Q"
    "XuTGyS8VojPSJama7wIoe6OZnafF6Ok5wetQyI7JPZUzs+vTh9e3J+urR9liVZBlDc9jHx"
    "A7SSYsHpkK4kJKIJiBozN8MrKbEnFdSwkMQ1AVd7ylUye5Ywx6fCGpIp7Vd3ng1SNjdTvv"
    "xD9+3AAhn1MdlyZ9UrLVdbitrDIuXGjbtxWR4Ux/bANhZgzqtxHw/XuCZP1qo2mJLP1+2Q"
    "xOhbVgJPUGp3Q+G4IE0NkfZEABuz4rOLXNv1M9f+zehgJYG0tcPgjypX7k8gjRhj9rRDNh"
    "GtR1yyfGlnM7GW2n9S11KZzihgD2i7bFbkA2J7/qU3zhIfSq+I9723qn7pTS5VeW4C5FZC"
    "5SDimbdcLJnnQ27n9IIokEvndrd0LmXu3wTAcq+sNKCfa0vRkk3qeTHO3FE0GWG5HVkRgL"
    "O2I8uzynara/wy9mnNtzlr0Q1ZEd8z1bEfkOEuxLPv+I5hrscpebOxR+rLzcRKrGwcALmw"
    "61kWdgl0EsGVm4mVfjMxdjuaGGZIz+MOiJSZttKmcldwIaTcv03u37bDEcL0OvMhAfTM0O"
    "dKqNwxz02gvsGwpdy7bdeIs5kDORhaic7IdJ00IlbiecWNYnnG2isCTANAGvjYPeU58Bgh"
    "g/B9UdaZ7DevxMrs83To5YZ68XeNjFLK4FiFOZCRmeeJzMiAwTYCBukObfkx4KptGlkZeL"
    "YZK1GRYw7HStIX7dwrB5kfsVvVeSxKkg7DhmMdLyXQ8cQs8PQQBje2U/f2SYY2ILIXjtqI"
    "L/zsLI8z/Ows3RvOr8Wy5oog7FXfQ3SPj/L5U7McqvmDDen7iqUHG3awrdjzuFQ3tjNYTM"
    "nfZeD/5/8B9T3UJQ=="
)
