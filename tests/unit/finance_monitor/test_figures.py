import pytest

from finance_monitor.figures import quantities, with_order

ORDERED = [
    ("en", "Halden cuts dividend to 4 cents from 6 cents", "Halden cuts dividend to 4 cents (lower) from 6 cents"),
    ("en", "Sales of $1.2bn against $900m a year ago", "Sales of $1.2bn (higher) against $900m a year ago"),
    ("en", "Margin slips from 14% to 9%", "Margin slips from 14% to 9% (lower)"),
    ("en", "Q3 EPS $0.74 vs $0.74 consensus", "Q3 EPS $0.74 (equal) vs $0.74 consensus"),
    ("en", "Analysts expected $50m; Orwell delivered $47m", "Analysts expected $50m; Orwell delivered $47m (lower)"),
    ("en", "Order book 27 → 50", "Order book 27 → 50 (higher)"),
    ("en", "Revenue 42.6m euros (27.9m)", "Revenue 42.6m euros (higher) (27.9m)"),
    ("en", "Profit of $1,152m in 2024, $980m in 2025", "Profit of $1,152m in 2024, $980m (lower) in 2025"),
    ("en", "Fleet grows from 4 to 6 million", "Fleet grows from 4 to 6 million (higher)"),
    ("zh", "恒岑净利润由12亿元降至8亿元", "恒岑净利润由12亿元降至8亿元（更低）"),
    ("zh", "云砥营收36亿元，上年同期15亿元", "云砥营收36亿元（更高），上年同期15亿元"),
    ("zh", "开工率从九成滑落到四成", "开工率从九成滑落到四成（更低）"),
    ("zh", "门店数375家→716家", "门店数375家→716家（更高）"),
    ("zh", "亏损5000万元，市场预期1.2亿元", "亏损5000万元（更低），市场预期1.2亿元"),
]
UNTOUCHED = [
    ("en", "Halden opens 4 shops in 2026"),
    ("en", "Guidance between $20 million and $28 million"),
    ("en", "Sensex at 22,959; 3 of 10 stocks fall"),
    ("en", "Shares down 8% after 200 staff leave for $4 more"),
    ("en", "Orwell pays A$2 billion for a 30% stake"),
    ("en", "The loss of $3m becomes a profit of $5m"),
    ("en", "Profit falls 12% to $5m"),
    ("en", "Core earnings were $8m less than the market wanted"),
    ("zh", "预计前三季度净利润同比增513%-560%"),
    ("zh", "拟每10股派现3元"),
    ("zh", "恒岑科技（600123）签下12亿元订单"),
    ("zh", "增持3000万元至1亿元"),
]


@pytest.mark.parametrize(("language", "text", "expected"), ORDERED)
def test_the_later_of_two_figures_says_how_it_stands_to_the_former(language: str, text: str, expected: str) -> None:
    assert with_order(text, language) == expected
    assert with_order(expected, language) == expected, "a second time changes nothing"


@pytest.mark.parametrize(("language", "text"), UNTOUCHED)
def test_where_the_words_leave_it_open_nothing_is_said(language: str, text: str) -> None:
    assert with_order(text, language) == text


def test_swapping_the_figures_turns_the_mark_round() -> None:
    for language, frame in (("en", "Output at {} tonnes, down or up from {} tonnes"), ("zh", "产量由{}吨调整至{}吨")):
        one, other = (with_order(frame.format(*pair), language) for pair in ((40, 70), (70, 40)))
        marks = [("lower" in text or "更低" in text, "higher" in text or "更高" in text) for text in (one, other)]
        assert marks[0] == marks[1][::-1] and any(marks[0]), (one, other)


def test_values_have_their_scale_and_sign() -> None:
    found = [(q.value, q.unit) for q in quantities("minus $1.5bn, 12 per cent, 40 cents, Rs 27 crore", "en")]
    assert found == [(-1.5e9, "money $"), (12, "%"), (pytest.approx(0.4), "money"), (2.7e8, "money Rs")]
    assert [q.value for q in quantities("-242万元、3.5亿、两成", "zh")] == [-2.42e6, 3.5e8, 20]


@pytest.mark.parametrize("text", ["1 " * 50_000, "1,1" * 30_000, "from 1 to " * 10_000, "$" * 100_000, "-" * 100_000])
def test_long_texts_end_soon(text: str) -> None:
    assert len(with_order(text, "en")) >= len(text)
    assert len(with_order(text, "zh")) >= len(text)
