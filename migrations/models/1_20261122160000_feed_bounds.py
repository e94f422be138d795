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
    "rddpp0+FYZm4UckcUvA/of5sbaT+ezTHQ5EgbTA3LWpicszv95+yA7fBNExyBBYThIHb95ABIFmXqRxmOJT5hu+4jfsoak/i"
    "DcQN3zI/wt7kR9iXHft77OV2M0mUQXglsUMto+QcVRmvD1/clnFs+vUPou/u2qWJ8NA2+AOtObeH5atMgPKu19Kv6kD8u8cf"
    "Gj29xnQq/m+debvItJ09a6cktRlPEbuRPkOO7plikoz0ptCysjdSZbRxSG6Zs9rVZbBy5yd5a/Vei+lUKVvVVlajMv7NkNgB"
    "Ojf3xJnpY5LrzTQQNCwTozVIjonuD9HKJ56/mW+KpqZlgQU0Kf9WBeXrDVaK0SNyeBpA+uz1xd51BxnS8FPQzPQTZz2ao5Ly"
    "E16VZplNYeu9vOm+8cumdOR+S8Hi31jwNyIsIAETyFO+AfvRXVP+XF1gZGKTTNYa6THRvekKP+VQN6czm8/LSZKzvZYhkUNa"
    "9tROz6/O35xdngdrn6AkbwGUXPuY+BFaab7gbEhXEhLRFESNuRvhlRbYkwlqVEjimoKrPeMqmT1PmeMzYY3IVPZLPC8GKZub"
    "Kd/+ofvrwBIR9QnZakfVKy1XW4qvh0XIjet347LcKY7tgW0swYJX4zYernFNn61VbTAkn+/bIanet7wAnrDU7obCaUmaGiLs"
    "iQA2ZsU3M8UHqLzItX8xOlhJKGztOPyjqhX7Ewojxpg97ZBNROsRly5f2dlM7KX2n9RdqczmFLAHtOOfE6sya4f+mT7OEh9K"
    "r4j39bd9/Uyfb5Mrz1RUsLpU8ejdkekE3+nzmKo6MXIP0UsTIHM8VYOIF86FWTGTlMyz9RNRIPc07m5PY8bcvwmAZRKzLKBf"
    "KtdrxSb1ohjnpnpNR1jmiSsDcF6euCLbn7e6+TIngW6xrLllM+UinszWsR+R4e6QFJ849xyn6Vngnqgvs7xVWNk4AnLH3Yvs"
    "uBPopIIrs7xVPssbux1N9f9kB9iHRKpMW2Vj7Pdwh6pMrCcT6+1whDC9znxMAT3XJ70SqrYzehOob9CfLJPq7RpxNnMgB0Mr"
    "1RiZrZPGxCo8r7juRW+x9ooA0wCQsqWUt7EUUL45ASNkEJ6wZp3JfvNKrNwWkA29zHSYfNdIL6V0ju0xB9Iz8zKeGekw2IbD"
    "INugLb/SvG/ZPPcGnm36SlTkmMOJkuIp8a4c5X5dcFXnKS9JNgwb9nX8LI6OZ4bnZ7sw+GI7M+lSOrQhkYMw1MZs4RcXRYzh"
    "FxfZ1nB+LRE1VwZhr/oBont6UsyemmdQLe5syE74lu1s2EG+t5cxqW4sZVtCyd+l4//H/wFIct1r"
)
