"""How far back the change feed reaches, and where in it each task began."""

from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    # The first place of a task that is there already is not known: at worst, a change shows as a creation.
    return """
        ALTER TABLE account ADD COLUMN feed_floor BIGINT NOT NULL DEFAULT 0;
        ALTER TABLE task ADD COLUMN created_seq BIGINT NOT NULL DEFAULT 0;
        UPDATE task SET created_seq = change_seq;
    """


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        ALTER TABLE task DROP COLUMN created_seq;
        ALTER TABLE account DROP COLUMN feed_floor;
    """


MODELS_STATE = (
    "eJztXW1z2rgW/isaf2l3JpubkLde7p074xC3ZTdABmi73c2OK7AAT4xMLRHK7e1/v5L8gt9jEyCG6ktiyzqyeR5JPjrn6Pi7"
    "MrUNZJFjdThEhPTtB4SVOviuYDhF7CDt8hFQ4Gy2usgLKBxYoj4UFXUa1BwQ6sAhZddG0CKIFRmIDB1zRk2b30pRwQBBBzlA"
    "yNSBja0lMCkBvffqr7WLS2AS8IBm9Jg3Z9hD1p6Jx6Ul59j8OkfswcaITpDD5P/6mxWb2EDfEPFPZw/6yESWEcHANHgDolyn"
    "y5kouzbHTUzfirr8uQb60LbmU7yqP1vSiY0DARNTXjpGGDmQIn4H6sw5HnhuWR58PkTuw66quE8ZkjHQCM4tjiqXdh9gVabo"
    "ervT13taX9eVBOK+RAhKr2hoY84We1QiABjzR/j1n7Xa2dlV7eTs8s3F+dXVxZuTN6yueN7kpasf7sOs0HKbEpg13zXbff5A"
    "NusSbn/hBT+EDKTQlRJkrNAX5OoTSCZpLGDoLNNZiMrF2BgsKSJxPnz08wjxC1aMrLr1+pQoXo89Amc1EDzb0wzlgX3bueaN"
    "TAn5avGCj2r3utlWu59ft9Q/fhGXlt6l2077nV9/ZhM6dkRDyvXnvqYKelZ0ODYDJkFEYwIdDc+ngoome0aIhyhBiS8bI4P9"
    "ogpR8bGpfdK6deD+v8c9rX3Dz93/97ilttV3vMA7uMedO62r9jusyD8qxp4yhd90C+ExnbDT08scNhl5jfdq9/Xp5S/R8dP2"
    "rtTEpShVQwdxOHVIk4TdsCvUnKL0sROVjNFleKLH/kF1yCs+tbEfaHTY+8KbUnOg7zdbWq+vtu4io+lG7Wv8Si0ykPzS13Ga"
    "gkbAp2b/PeCn4M9OW4uPuKBe/0+FPxOcU1vH9kKHRmj290t91CKso28zk7W2ButRyQ2w7j1uVUjfE5J9THJZdtAje7+tM7aj"
    "kpLlKrPMtGl7jqleVgONyj2tie7DjL0zZZSvA0YPqbqoh2uSjLe2g8wx/h0tExpQDP3Vgspvac+I+OF3Nr90NQU4cBEsn2J9"
    "kCHAfjeirrao9hrqjaYIqAdw+LCAjqFHMOdX7JodKwnqJi9Na9N4CcRwLPDhP4Q/dgz79HWuT0vuGjeo9OTy9tPEBgRhgwCI"
    "DTCDS3IMtEfksF7BUAaDOQVsPQrsGe8DtvOKADZBm2hBAOtCSwJMTEyDXccIePdNLoS3dA+5ZK7wLHWUs2QW/xP48zVaOvp+"
    "/c2sy16WgMia6vK8wJrq8jxzTcUvRddUXCfS/8tGShl8I0K7W/wqKjHhP3oTiMcTaCrlEFeabHkL/J7x8sAP546D8HBZBvew"
    "zA5hb7Q/lwa71wHntdOrdbA+KwD1WSbSZwmgeX9BOkFfy03hUbnd6ZwnJaG+hYSCmQWHCIzNR4TZ20+8Hb03H3s5ur8EjBAy"
    "CvKxw1l/RRR/Pn1k2bZTjqioXHWJ6jNSMFqggC57BCAQWiSrwTiDrloTogtMIAEj2xnblLr+h6qSJ21z2YQclm0usZzMXvTE"
    "nB4kZVx7cm9/7yILCmSTnSDdZ7dnvSBrmRm1j8xmljkUODwXrFVLhwoWMccY0rmDnglVz2/nUIGikDw8E6M+a+Jg4UFT9j6m"
    "z+1Gfa+ZQ4Jpq1ar0AyVZrmKTmA51qtYxacDNDDotXogJFdnepiDxuzoiB2NGXELuBS2JyjsUMhJCdZYtxVphZJWqP2bIrZt"
    "DnEHTjq8BQIxAukqg6003jfbWk/TW2qzfau2b+ogXnKPWT/Uum213+y01ds6iJyuY03ZfBiGO5fpjJQBSlmqZw+IhOBaZFXM"
    "PRtFu3ZaAO3aaSba/FIUbe89UgbnkMgOrYT+4U5wPqsVMRLWsq2EtUSvnpMZ759pr1jbthDEGZ06LBePymOC28I7KNltyMF1"
    "p3MbMU5cN2Mv0vaH1rXGphSBPatkUmky+slNRjIERIaAVJmIDYSAdNm46DYb/bwYkFQ7n74pM1ZowXzwFq0wfhsy34TgO0RL"
    "jrQH5sKzI0PXamDmW7wiA7iQ6Ws1jRQzgvUnJgGBDJjCJRggMCfIAIMloPxqqPWk+WsN+RTD119x693qV/wtjWJV0R6Ocoxi"
    "4S5YWqVLyEq1bm0HfDByStMQl5QkbEy3jk5uz9WvD9Klm9CxE5NCeqh1at/fAMqHqDvHMY6P+EoFs6fo4fnKUlhdL6Yr0bBE"
    "MVXJF1lTUyolXkRRCn6C1JMq8yaQelJliUlGe5RmISYoKZBa0n5pSeG33jNBPkALWRzh2HCvkoqUa0UqaDoqbS5CYu8M31ww"
    "Yk/z68I06AQMmNQDokyFYYqNiS0e7DRFhLDnZlrO2MQELEw6SVOKnt2ejKOq8HSfpwrJOKothjEIdFLBfTqKypetMtDKR63b"
    "fNtsiIgovdG50eogUXSPWQtBUR2Ez+7xXbfT6rgXgsP4BFUo1uekSKzPSXasz0kiBoWyKTnFM1OMvpX0DqN+7rT2TbP9TinJ"
    "oifGGHAP7rF6x8j4qN3UgX90j7vab1qjz8v8o3V4Oi3C02k2T6cJntzd5jq205SpPvqW8RqJiR1C9FteYIr2h3g1BDEpPqLp"
    "+br86iEGGjyFV3IzJ0bWGsGHSclDwH/b0Yfsdz4ih0ArRWHKi4qLyMmoOBkVJ6PiZFRc1RYpMipORsXtORcvFNdVMS2oots8"
    "9wWlbdoqRYdKMVP6HS3bQkn9Gk8aJzsYAcpWXTxThkj6ZZmE8uwarq5PjkGTEiAmKXYGoCPMjl/4DXSv9MuRSLTtCYjLnt3x"
    "S9J4uYP7PW3c/K6sGIhNwVFFkJVxUfRtxiZTIjILeK15lHi9xe/niqjMIBcnYghl3onv6NrBbXwL4DbvEUr385x7SJuztDlX"
    "TXnY9t7dPTRb9hrvtZsPt55BsUxie1+wDoJDN6e6MGf2fHPmnfqhxyu5/0WNvrjcv8eNTuvuVhN2zeCQlarthiYa9o+YVL9z"
    "dyfu5R5Uw/w55DxaOnvLkPW3bCcaqbA5TmEcduuA/73HnY9a9+aDVgfeAXc26NyCqXV19fa284nzlSiqhoNhYNnDB6ZwJEn7"
    "rddpp0+FYZm4UckcUvA/of5sbaT+ezTHQ5EgbTA3LWpicszv95+yA1clPLnaEiwQU8cWE54nj4IFZHqa6IjIAOx4TdpyaOK4"
    "5lvB4wbvo6hxiTcQt4LLZAl7kyxhX7bv77HL200rUQbhlcQOVY6SE1ZlXEB8pVvGy+nXP4i+u2v/JsJD2+APtObcHpavMgHK"
    "u15Lv6oD8e8ef2j09BpTsPi/debtItN29qydkuFmPEXsRvoMObpnl0ky0ptCy8reVZXRxiH5aM5qV5fBMp6f5C3cey2mU6Xs"
    "W1uZkMo4O0NiB+jp3BPPpo9JrmvTQNCwTIzWIDkmuj9EK594Mme+Q5qalsWWGSblH66gYtlBAEaPyOE5Aemz1xd71x1kfMNP"
    "QTPTT5z1aI5Kyu95VZplNoWt9/Km+8Yvm9KR+2EFi39wwd+VwC1IE8jzvwH70V1T/lxdYGRik0zWGukx0b3pCj/lUDenM5vP"
    "y0mSs12YIZFDWvbUTs+vzt+cXZ4Ha5+gJG8BlFz7mPgRWmmO4WxIVxIS0RREjbkb7pUW5ZMJalRI4pqCqz3jKpk9T5njM2GN"
    "yFT2szwvBimbmynfC6L768AS4fUJ2WqH2CstV1uKr4dF/I3rd+Oy3EOO7YFtLMGCV+M2Hq5xTZ+tVW0wPp9v4iGp3re8aJ6w"
    "1O6GwmlJmhoiBooANmbFBzTF16i8MLZ/MTpYSSiG7Tj8o6oVCBSKKcaYPe2QTUTrEZcuX9nZTGys9p/UXanM5hSwB7Tj3xar"
    "MmuH/s0+zhIfSq+I9ym4ff1mn2+TK89UVLC6VPFQ3pHpBB/t85iqOjFyQ9FLEyATPlWDiBdOjFkxk5RMuvUTUSA3OO5ug2PG"
    "3L8JgGVGsyygXyrxa8Um9aIY5+Z9TUdYJo0rA3Be0rgie6G3uhMzJ5tusRS6ZdPmIp7Z1rEfkeFulxTfO/ccp+kp4Z6oL1O+"
    "VVjZOAJy+92LbL8T6KSCK1O+VT7lG7sdTfX/ZAfYh0SqTFtlY+z3cLuqzLIns+ztcIQwvc58TAE91ye9Eqq2M3oTqG/Qnywz"
    "7O0acTZzIAdDK9UYma2TxsQqPK+47kVvsfaKANMAkLKllLexFFC+OQEjZBCevWadyX7zSqzcFpANvUx7mHzXSC+ldI7tMQfS"
    "M/MynhnpMNiGwyDboC0/2bxvqT33Bp5t+kpU5JjDiZLiKfGuHOV+anBV5ykvSTYMG/Z1/CyOjmeG52e7MPhiOzPpUjq0IZGD"
    "MNTGbOEXF0WM4RcX2dZwfi0RNVcGYa/6AaJ7elLMnppnUC3ubMjO/pbtbNhB8reXMaluLGVbQsnfpeP/x/8ByGHiGg=="
)
