"""Personal data is blacked out; order numbers, prices and dates are not."""

import pytest

from support_bot.redaction import is_card, is_chinese_id, is_iban, redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann.lee+shop@mail.example.com please", "write to [EMAIL] please"),
        ("card 4111 1111 1111 1111 was charged", "card [CARD] was charged"),
        ("card 5555-5555-5555-4444", "card [CARD]"),
        ("IBAN GB82 WEST 1234 5698 7654 32", "IBAN [IBAN]"),
        ("my IBAN is DE89370400440532013000.", "my IBAN is [IBAN]."),
        ("身份证11010519491231002X", "身份证[ID]"),
        ("请打13800138000找我", "请打[PHONE]找我"),
        ("手机 +86 138 0013 8000", "手机 [PHONE]"),
        ("call 01632 960 140 now", "call [PHONE] now"),
        ("call +44 7700 900123", "call [PHONE]"),
        ("two: a@example.com, b@example.org", "two: [EMAIL], [EMAIL]"),
        ("4111 1111 1111 1111 12/26 123", "[CARD] 12/26 123"),
        ("order 12 4111 1111 1111 1111", "order 12 [CARD]"),
        ("4111.1111.1111.1111 or 4111–1111–1111–1111", "[CARD] or [CARD]"),
        ("账号DE89370400440532013000谢谢", "账号[IBAN]谢谢"),
        ("BE68 5390 0754 7034 from me", "[IBAN] from me"),
        ("GB82-WEST-1234-5698-7654-32", "[IBAN]"),
        ("ID 110105 19491231 002X", "ID [ID]"),
        ("１１０１０５１９４９１２３１００２Ｘ", "[ID]"),
        ("电话01632 960 140请回", "电话[PHONE]请回"),
        ("座机0755-83451234", "座机[PHONE]"),
        ("手机１３８００１３８０００", "手机[PHONE]"),
        ("tel:+4915112345678", "tel:[PHONE]"),
        ("on 2026-11-24 call 07700 900 123", "on 2026-11-24 call [PHONE]"),
        ("zoe\u200b.quill@example.com", "[EMAIL]"),
        ("jürgen@müller.de, o'brien@example.com, ann＠example.com", "[EMAIL], [EMAIL], [EMAIL]"),
        ("邮箱ann@example.com谢谢", "邮箱[EMAIL]谢谢"),
    ],
)
def test_personal_data_is_replaced_by_its_kind(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Where is NB-20481?",
        "It costs £289 and weighs 2.1 kg.",
        "delivered on 2026-11-24 at 16:30",
        "card number 4111 1111 1111 1112 has a typo",  # wrong Luhn digit
        "IBAN GB82 WEST 1234 5698 7654 33",  # wrong check digits
        "110105194912310021",  # wrong check character
        "sizes 36 37 38 39 40 41 42",
        "订单NB-20481共3件，合计289英镑",
        "version 1.26.4, build 20261124",
        "Order NB-20481 of 2026-11-24 16:30",
        "EU 36 37 38 39 40 41 42 43 44 45",
    ],
)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert redact(text) == text


def test_checksums_follow_their_standards() -> None:
    assert is_card("4242424242424242")
    assert not is_card("4242424242424241")
    assert not is_card("0000000000000000")
    assert is_iban("FR14 2004 1010 0505 0001 3M02 606")
    assert not is_iban("FR14 2004 1010 0505 0001 3M02 607")
    assert is_chinese_id("11010519491231002X")
    assert not is_chinese_id("110105194912310028")
