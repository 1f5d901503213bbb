"""Signatures of webhooks: the published scheme, and nothing that only looks like it."""

import base64

import pytest

from tools.webhooks import BadSignature, StandardWebhooks, provider, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT, MOMENT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
"""The published example of the scheme."""


def headers(**changed: str) -> dict[str, str]:
    given = {"id": EVENT, "timestamp": MOMENT, "signature": SIGNATURE, **changed}
    return {f"webhook-{name}": value for name, value in given.items()}


def scheme(*secrets: str, now: float = 1614265330) -> StandardWebhooks:
    return StandardWebhooks(secrets or (SECRET,), now=lambda: now)


def test_the_published_example_is_signed_and_verified():
    assert sign(SECRET, EVENT, MOMENT, BODY) == SIGNATURE
    assert scheme()(headers(), BODY) == EVENT


def test_one_fitting_signature_of_several_is_enough():
    assert scheme()(headers(signature=f"v1a,xx v1,bm9wZQ== {SIGNATURE}"), BODY) == EVENT


def test_a_secret_may_be_replaced_while_the_old_one_still_signs():
    new = "whsec_" + base64.b64encode(b"another secret of some length").decode()
    assert scheme(new, SECRET)(headers(), BODY) == EVENT
    assert scheme(new, SECRET)(headers(signature=sign(new, EVENT, MOMENT, BODY)), BODY) == EVENT
    assert StandardWebhooks(lambda: [SECRET], now=lambda: 1614265330)(headers(), BODY) == EVENT


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_request_from_another_time_is_refused(seconds):
    with pytest.raises(BadSignature, match="timestamp"):
        scheme(now=1614265330 + seconds)(headers(), BODY)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "msg_other"},
        {"timestamp": "1614265331"},
        {"timestamp": "soon"},
        {"timestamp": "-1"},
        {"timestamp": "9" * 999},
        {"signature": ""},
        {"signature": "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"signature": SIGNATURE.replace("v1,", "v2,")},
        {"signature": "v1,\udcff"},
        {"id": "x" * 1001},
    ],
)
def test_what_was_not_signed_like_this_is_refused(changed):
    with pytest.raises(BadSignature):
        scheme()(headers(**changed), BODY)


def test_the_signature_is_over_the_bytes_and_not_over_their_meaning():
    with pytest.raises(BadSignature):
        scheme()(headers(), b'{"test":2432232314}')


def test_without_a_secret_nothing_fits():
    with pytest.raises(BadSignature):
        StandardWebhooks([], now=lambda: 1614265330)(headers(), BODY)


def test_a_secret_that_is_none_says_so():
    with pytest.raises(ValueError, match="base64"):
        scheme("whsec_not base64!")(headers(), BODY)


@pytest.mark.parametrize("name", ["", "Bank", "a/b", "x" * 101])
def test_a_provider_has_a_name_that_can_stand_in_an_address(name):
    with pytest.raises(ValueError, match="address"):
        provider(name, verify=scheme())


def test_two_providers_of_one_name_are_a_mistake():
    with pytest.raises(ValueError, match="two providers"):
        provider("bank", verify=scheme())(lambda event: None)
