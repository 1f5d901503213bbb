"""The payment service: the independent witness of the examples.

It is not a part of the runtime and shares nothing with it. It keeps its own file of effects, honours
`Idempotency-Key` as payment services do, and can be told to fail, hang or answer late. What it has written is
what happened in the world, whatever the runtime believes.
"""
