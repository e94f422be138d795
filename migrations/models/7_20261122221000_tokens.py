"""What people need to know of tokens: a name, a maker, the last use; and finding what waits for review."""

from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return """
        ALTER TABLE access_token
            ADD COLUMN name VARCHAR(64) NOT NULL DEFAULT '',
            ADD COLUMN created_by VARCHAR(255) NOT NULL DEFAULT '',
            ADD COLUMN last_used_at TIMESTAMPTZ,
            -- last_used_at changes every minute, on the same page.
            SET (fillfactor = 70);
        CREATE INDEX access_token_of_account ON access_token (account_id, id);
        CREATE INDEX signature_to_review ON signature (created_at, id) WHERE status = 'PENDING';
        CREATE INDEX template_to_review ON template (created_at, id) WHERE status = 'PENDING';
    """


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        DROP INDEX signature_to_review, template_to_review;
        DROP INDEX access_token_of_account;
        ALTER TABLE access_token
            DROP COLUMN name, DROP COLUMN created_by, DROP COLUMN last_used_at,
            RESET (fillfactor);
    """


MODELS_STATE = (
    "eJztXW1z4rYW/isavnQ7k+Ym5G0ve+fOOMS7S0sgA+xut03HFViAJ0amlkiW9u5/v0eyDX"
    "6PzVsM8ZfEyDqy/Tx6OTo6OvqnMrF0YrJjZTAgjPWsB0IrNfRPheIJgYu420eogqfT5U2R"
    "wHHflPmxzKjxRc4+4zYecLg3xCYjkKQTNrCNKTcs8aiKgvoE28RGUqaGLGrOkcEZ6n5Ufq"
    "peXCKDoQcy5ceiON0aQHkGHeWWnFHjrxmBFxsRPiY2yP/+ByQbVCffCBM//6kMDWLq8lp8"
    "hzWjXDN0IQx/RWbybWrD18GLM0/exYnOTFPAMJ9KFCoyM3y4/PFdZJw+aLL4ALpO6TJd82"
    "SvjVGD8vcyr/jivjawzNmELvNP53xs0YWAQblIHRFKbMyJeAK3ZwJp8VYuMR74DgzLLM73"
    "+2R0MsQzky+/CV5gmVbRtFa7p3XVnqZVIlx6Ej6S3KQBQAZwwKsyCcBIvMJP/65Wz86uqi"
    "dnl28vzq+uLt6evIW88n2jt66+Oy+zRMspSmLW+NBo9cQLWVDZnJooEr5LGcyxtqR2ib6s"
    "NtoYs3EcCxTb83gWgnIhNvpzTliYDw/9NEK8hCUjywazOiUVty0cobMqWrzb8wylgd1sX4"
    "tCJoz9ZYqEz0rnutFSOl/f3Cq//ihvzd1bzXbrg5d/ajE+smVBleuvPVWR9CzpsC0AJkJE"
    "fYxtlc4mkooGvCOmAxKhxJMNkQFfVCAqPjfUL2qnhpz/97Srtm7Eb+f/Pb1VWsoHkeBe3N"
    "P2ndpRem1I8q6ysVeZ4G+aSeiIj+Hn6WUKm0Be/aPSeXN6+WOw/bTcO1V5K0iV/B9LVXyL"
    "8fLvjp5KZVtdVwDay/MM0F6eJ0IrbgWhHdhEQKFhHgX4Bu5wY0LiQQ5KhqDWXdFj76I47S"
    "I79PCBehsGeXe0SoG+17hVuz3l9i7QUd0oPVXcqQb6KC/1TbgFLApBXxq9j0j8RL+1W2q4"
    "M1vk6/1WEe+EZ9zSqPWkYd03sHqpHmqxrPfneZpVUKq4jQs0NTlm/sCQ+OAjhNGU2MyiR8"
    "gC7W1M0MCaTDDVkWlQskoXV724yNAQIVdiS5T3gk0R1D0DKF6hKQYlN9AU3TpUlJa4Jy3P"
    "wyS16dnkEermKh1uULJkucgsm5hxbcZW4jksuzdMV3qW7F0nBp3xjP3qIZEenMRnn2YH5Z"
    "6fbu+D7rSzGbcwdgwfYifcLq5RMt5bNjFG9Bcyj0zzQugv7VFeSXtGxHevsnmpy97Axk8L"
    "G1GoDgIC8N2EOwqh0q0rN6pjV+rjwcMTtnUtgLm4Y1WtUMoib/TWpDoJp2CKRxIf8SHitU"
    "PYx5sJPVpSTYSLTM9aB7+MLcQI1RkS6uEUz9kxUh+JDbUCUEb9GZc9nDUVdcCyQcOEUdkg"
    "TwxBFZozZFBm6HCfEuQ+N2pH3NIznrc4lnbBQtoFX9a68bIEbNm6IdQj7W+L5sI3ILTDWa"
    "7CDPyv7hjT0Rgbeae8DaWlIK9mvDzwg5ltEzrIZ17wyewQ9nrra26wu210Xj29WgXrswxQ"
    "nyUifRYBWtQXojHyV74uPCi3O53zJCfUTZgMoamJBwSNjEdCYfSTo6M78sHg6HwJGhKiZ+"
    "Rjh73+kijxftrQtCw7H1FBueIS1QNSKHkiC7qsIcJIapGQAzjDjlrjowuNMUNDyx5ZnDvL"
    "t0Ulr7SSJxNyWFbyyHQyedITWtllMe3alXv/S4eYWCIbrQTxLg97VguSpplB+8h0ahoDic"
    "O6YC1LOlSwmDGimM9ssiZUXa+cQwWKY/awJkY9KOJg4SETGI/5utWo5xZzSDBt1Wrl66Hi"
    "LFfBDizFehXK+Lx/G0Xd2y7yydVAD7PJyBDrnxiNgLgnPJe2JyztUMSO8XVbtZTSClVaof"
    "avi9i2OcRpOPHwZvA2W0gXGexK/WOjpXZV7VZptJpK66aGwin3FOqh2mkpvUa7pTRrKPBz"
    "FWvK5n3NnL5MA1L6JGaqntwgIoIrkVWwNfmQ28tpFq+X02Snl9Mw2u44kgdnn8gOrYTe5U"
    "5wPqtmMRJWk62E1UitnrGpqJ9xQ6xlmQTThErtlwu7HoPgtvBepOzWz+S63W4GjBPXjdBA"
    "2vp0e61ClyKxh0wGL01Gr9xkVLqAlC4gRSZiAy4gHWgXnUa9l+YDEmvn0zZlxvJNmA/eou"
    "XHb0PmGx98h2jJKe2BqfDsyNC1bJjpFq9AA85k+lp2I9mMYL2xwdBCBk3wHPUJEj61qD9H"
    "XNz1lR41f60gH2P4+j1svVt+xR+lUawo2sNRilHMXwVzq3QR2VKtW3kBftFyctMQlixJ2J"
    "huHezc1tWvD3JJN6JjRzqFeFfr2Lq/AZQPUXcOYxxu8YVyZo/Rw9OVJb+6nk1X4n6JbKqS"
    "J7KippRLPIuitPiEUk8qzEhQ6kmFJSbq7ZGbhZBgSUGpJe2XluQf9dYE+QAtZGGEQ829SC"
    "pSqhUpo+kot7mIyL0zYnPBEN7mpydD52PUB6kHwkGFAcXGoKZwdpoQxuC9QcsZGZShJ4OP"
    "45Sitcsr/agK3N2nqUKlH9UW3RgkOrHgPu9F5ckWGejKZ7XTeN+oS48ord6+UWsoknRPoY"
    "RFUg35f93Tu077tu3cWFyGO6hMvj4nWXx9TpJ9fU4iPigcuuSYlZls9C2ld+j1c6e2bhqt"
    "D5WcLLpiwIBzcU+VOyDjs3pTQ97VPe2oP6v1nkjzrlbh6TQLT6fJPJ1GeHJ2m2vUilOmeu"
    "RbwjASEjsE77c0xxT1Vzk0LHxSPETjgxJ62X0M1EWcwuhmTkrMFZwPo5KHgP+2vQ/hOx+J"
    "zbAZozClecUF5EqvuNIrrvSKK73iijZJKb3iSq+4Pefihfy6CqYFFXSb576gtE1bpaxQMW"
    "ZKr6IlWyi5l+NZ42SbEsRh1iUiZcigX6bBuIiu4ej67Bg1OEOyk4JfCNvS7PineIDmpv55"
    "JM8pcAXkbdfu+GfUeLmD5611OEJQEVzzqATRhBKfJHZ07eAxngVwm8/whftZ5xmlzbm0OR"
    "dNedj23t09NFt26x/Vm09N16CY5/QOT7CGFpfOwRHSnNn1zJl3yqeuyOT8lzl68nbvntbb"
    "t3dNVdo1F5eQqrTqqizYuwKpXvvuTj7LuSiG+XMgeDQ1GGXY6lu2I4UU2BxXAQ47NST+3t"
    "P2Z7Vz80mtIfdCLDZowoKpdjSl2Wx/EXxFkoqxwNA3rcEDKBxR0n7utlvxXaFfJmxUMgYc"
    "/U+qP1trqf8ZzuhABkjrzwyTG5Qdi+f9N2/DVZgIrjZHTwTUsaexiJPH0RMGPU1WRKIjuF"
    "6RthSaBK7pVvCwwfsoaFwSBYSt4GWwhP0JljBh2jprsn75QtN1yOuy+xKDYY/9FpzYIHkQ"
    "XkoU95ydwqzjCXNFFNzkpWov/0HU3V0vUhM6sHTxQiv2+X75IhNQ+dC91a5qSP67p5/qXa"
    "0KWrL4t0q/nWXsTR56Y8IUjSYEHqRNia25xrUoI90JNs3krXEJZRzSQttZ9epyYYsRP9Ks"
    "L91bUIxjNh8u7YB5Vqx9Yge4XL0ny9MeJqnr0zrBujgKbgWSQ6L7Q3Tli4jILba5c8M0Ya"
    "5ocHH6CJdzR4YoeSS2COzI154k7l11KJ1UXgXNoJ/Yq9EclNyb89leJ8vQha02ePN94xe6"
    "dOKcjiGOEFxsLRFmwDEWQfyQ9ejMKV9XFRga1GDjlVp6SHRvqsKrbOpuhYf5zMwerUR3fA"
    "l7w3qla8CM27P/M68HcJw0qIVMi45Aq3sgU/5OZpAuAvL26+sVjMnUEqN4tI4key34RA5p"
    "klw9Pb86f3t2eb6YKS9S0qbL0ZmyQR+xGecLkgzpUqJENAZRfeZ4eMY59iWCGhQqcY3B1Z"
    "oKBd6axQwRibAGZAp7EteLQTrF8tDq/lxzokaz2FXc1I01SUUUe49N5Q47EW/IQFzIkdXn"
    "7S0V8EUg7XdoZMGILJIdbd2xwsDANpuQjCfY7Wivzt6c4bi7lcEsC4PZD2+c2sYgrmNPdl"
    "dZShTDWUU8NrezSnsoz4yRiw9HIk4UdAhiRQjpxgjazpHwVQEahsZoZkOz8ruzTLC+vqq6"
    "Fa8VwmAq4Bj/JvGba27IAHKY8cTGiYcpduSP3XKK05hcUzIH0hh0fcYQCePx3KNYdG8D6D"
    "FGG+jebtR641Zpvqm+PXob6sA8Ds9jNjQzLvYla545O8eIFJEt+FB06035gmZ9OdFzfMCE"
    "rPDWpFbf0ufoSWQTS1XCcDQp0vgjNpQn6BApnuV+qd3paKc5aapLf3xQA2ZcHuYuT0Z1t1"
    "S8Azogxbef4tj/UcVySvftb6MU3nYAPdhqxMXLF1bNlkF+vDd1DK7TGfR1lFvhc26LzNqh"
    "nx8tWBJN6QfmHku8r+dHe0uL+ZkKChaXKrGtbGjYiwOkXaaKTky5uf2lCSiDjxaDCNCVhc"
    "uTNcxNQ1hyJRIKtrL2KgPllxzUyiC8ZcCTIhKx0YAnCePvJgAuIxwnAf1SB0EUrFPPinHq"
    "ORDxCJdBpPMAnBZEOh7fhZ63CYAPKphPGNuwRhwAF14CtT41m9kCTzlFlaGTdhYUKOVgl2"
    "ynueQ9wYWI5WbbeiS6E7nHEgtsrvNXfHTyZ/KX0ccLrOcKmTISzAtEgllnp3u5y/2Fd7nD"
    "43js8m/yNmGfSJFpK+xO4T2MnFQGfC8Dvu+whYBeZzzGgJ7qkrIUKrYvyiZQ36A7SRnsfd"
    "eIQ89BbIrNWDt4sk4aEitwv+J4F7iTtR8YMnSEOUyl3PA4jnMvJUQX/r4Z/Ra3rcSWm5uT"
    "oS8j8EfHmtJJoVyX3WMOykXBl1kULNeqtrFWlcXcH3cU+OaOmTjAZa2gjW9np0zsDTzbXC"
    "tRiG0MxpWYlRL3zlHqqffLPM+tkiTDsOG1jtey0LHmttHkJQwx2U6M/xsPrU/kIAy1IVv4"
    "xUUWY/jFRbI1XNyLOM3mQdjNfoDonp5ks6emGVSzLzYk7+xMXmzYwdbOlzGpbmwfZkTJT9"
    "aTNj+Yff8/Sjk+0g=="
)
