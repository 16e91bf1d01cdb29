"""Which companies a text speaks of."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from finance_monitor.companies import Company, Gazetteer, fold, read_gazetteer, write_gazetteer
from headwater.errors import HeadwaterError

DAY = datetime(2026, 3, 2, tzinfo=UTC)
COMPANIES = [
    Company("halden", "Halden Group", "HLD", "LSE", aliases=("Halden", "哈尔登集团")),
    Company("halden-marine", "Halden Marine", "HMI", "LSE"),
    Company("orchard", "Orchard plc", "ORC", "LSE"),
    Company("all", "Allworth Holdings", "ALL", "NYSE"),
    Company("bexmoor", "Bexmoor Telecom", "BXT", "LSE", valid_to=date(2025, 12, 31)),
    Company("bexmoor", "Greyfold Networks", "GFN", "LSE", valid_from=date(2026, 1, 1)),
    Company("hengcen", "恒岑科技股份有限公司", "600123", "SSE", aliases=("恒岑科技",)),
    Company("tarn", "Tarnbrook Bank", "TBK", "LSE", aliases=("Tarnbrook",)),
    Company("tarn2", "Tarnbrook Mills", "TBM", "LSE", aliases=("Tarnbrook",)),
]


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return Gazetteer(COMPANIES)


def found(gazetteer: Gazetteer, title: str, text: str = "", moment: datetime = DAY) -> dict[str, int]:
    return {mention.company_id: mention.relevance for mention in gazetteer.mentions(title, text, moment)}


def test_the_longer_name_wins_where_one_holds_another(gazetteer: Gazetteer) -> None:
    assert set(found(gazetteer, "Halden Marine pays flood claims")) == {"halden-marine"}
    assert set(found(gazetteer, "Halden sells ships to Halden Marine")) == {"halden", "halden-marine"}


def test_legal_forms_may_be_left_out_and_words_are_not_cut(gazetteer: Gazetteer) -> None:
    assert set(found(gazetteer, "Allworth lifts dividend")) == {"all"}
    assert found(gazetteer, "Haldenberg opens a theatre") == {}


@pytest.mark.parametrize("text", ["$ALL up 3%", "Allstate? No: (NYSE: ALL) rises", "Results of Allworth (ALL) due"])
def test_a_short_ticker_counts_where_it_is_marked_as_one(gazetteer: Gazetteer, text: str) -> None:
    assert set(found(gazetteer, text)) == {"all"}


@pytest.mark.parametrize("text", ["WE ARE ALL GUILTY", "All shares fell", "Nothing at all", "The League (ALL) met"])
def test_a_short_ticker_that_is_a_word_does_not_count(gazetteer: Gazetteer, text: str) -> None:
    assert found(gazetteer, text) == {}


def test_a_name_that_is_a_common_word_needs_a_companys_surroundings(gazetteer: Gazetteer) -> None:
    assert found(gazetteer, "An orchard in bloom", "The orchard covers 3 hectares. Orchard owners met.") == {}
    assert set(found(gazetteer, "Orchard reports record sales")) == {"orchard"}
    # Once it is certain, every other mention with a capital counts.
    (mention,) = gazetteer.mentions("Orchard reports record sales", "Fans of Orchard queue.", DAY)
    assert len(mention.spans) == 2


def test_a_name_that_the_text_writes_small_is_a_word_in_it() -> None:
    """Lists of exchanges hold Billion Group Holdings and Here Group, which leave Billion and Here."""
    listed = [Company("veridor", "Veridor Group"), Company("lowe", "lowe", "LWE"), Company("farsel", "Farsel Holdings")]
    gazetteer = Gazetteer(listed)
    assert found(gazetteer, "Harbour pays 2 veridor to settle", "It was a Veridor too many.") == {}
    (mention,) = gazetteer.mentions("Costs of 2 veridor", "Veridor Group says so. For Veridor it is dear.", DAY)
    assert mention.company_id == "veridor" and len(mention.spans) == 2
    # A company may write itself small, and a post may write everything so.
    assert set(found(gazetteer, "Shoes by lowe sell out")) == {"lowe"}
    assert set(found(gazetteer, "farsel up 5% after earnings")) == {"farsel"}


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Varnel strikes spread", "Varnel workers walked out. Orders on varnel.com were delayed."),
        ("Varnel crash under investigation", "Varnel did not answer. Contact press@varnel.com"),
        ("Varnel puts off its plant", "Varnel has put it off: https://www.varnel.com/news/varnel-plant"),
        ("Varnel to list in Oslo", "Varnel and its owner agreed. Staff took a varnel home."),
        ("Shares of Varnel slide", "It was the varnel of the week."),
    ],
)
def test_an_address_or_a_single_small_use_does_not_make_a_name_a_word(title: str, text: str) -> None:
    assert set(found(Gazetteer([Company("varnel", "Varnel Inc")]), title, text)) == {"varnel"}


@pytest.mark.parametrize(
    ("name", "ticker", "text"),
    [
        ("MCTAVISHS CORP", "MTV", "Burgers: McTavish's (MTV) sells more"),
        ("LOWERY & COMPANY/MN", "LWY", "Lowery gains after results"),
        ("Brandt Chase & Co", "BCH", "Brandt Chase to buy a lender"),
        ("Formosa Union Chip Manufacturing", "FUC", "Chips from FUCM (FUC) are dear"),
    ],
)
def test_names_as_exchanges_list_them_are_found_as_papers_write_them(name: str, ticker: str, text: str) -> None:
    assert set(found(Gazetteer([Company("x", name, ticker)]), text)) == {"x"}


def test_letters_in_brackets_behind_other_words_are_no_ticker() -> None:
    gazetteer = Gazetteer([Company("on", "ON Halvor", "ON"), Company("dis", "The Wade Dilney Company", "DIS")])
    assert (
        found(gazetteer, "Ministry on national standards (ON) meets the Department of Industry Standards (DIS)") == {}
    )


def test_a_chinese_name_that_is_a_word_needs_a_companys_surroundings() -> None:
    gazetteer = Gazetteer([Company("robot", "机器人", "399991", "SZSE"), Company("sun", "太阳能", "399992", "SZSE")])
    assert found(gazetteer, "机器人走进校园课堂", "学生们围着机器人提问，屋顶装了太阳能板。") == {}
    assert found(Gazetteer([Company("robot", "機器人", "399991", "SZSE")]), "機器人走進課堂") == {}
    assert found(gazetteer, "机器人公司获融资", "光伏与太阳能：成本十年下降九成") == {}
    for text in ("机器人：2026年净利同比增长两成", "机器人上半年净利润增长", "《机器人》公告", "机器人(SZ399991)涨5%"):
        assert set(found(gazetteer, text)) == {"robot"}, text
    (mention,) = gazetteer.mentions("太阳能（399992）公告称拟回购股份", "受此提振，太阳能盘中走高。", DAY)
    assert mention.company_id == "sun" and len(mention.spans) == 3


def test_a_company_is_known_by_the_name_that_it_had_then(gazetteer: Gazetteer) -> None:
    before, after = datetime(2025, 6, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    assert set(found(gazetteer, "Bexmoor Telecom cuts jobs", moment=before)) == {"bexmoor"}
    assert found(gazetteer, "Bexmoor Telecom cuts jobs", moment=after) == {}
    assert set(found(gazetteer, "Greyfold Networks cuts jobs", moment=after)) == {"bexmoor"}


def test_a_name_that_two_companies_share_names_neither(gazetteer: Gazetteer) -> None:
    assert found(gazetteer, "Tarnbrook shares fall") == {}
    assert set(found(gazetteer, "Tarnbrook Mills shares fall")) == {"tarn2"}


def test_chinese_names_in_simplified_and_traditional_characters_and_codes(gazetteer: Gazetteer) -> None:
    assert set(found(gazetteer, "恒岑科技被立案调查")) == {"hengcen"}
    assert set(found(gazetteer, "哈爾登集團上調全年目標")) == {"halden"}
    assert set(found(gazetteer, "公司（600123）今日停牌")) == {"hengcen"}
    assert found(gazetteer, "成交600123手") == {}


def test_folding_keeps_every_position() -> None:
    for text in ("İstanbul ＡＢＣ 龍門", "ﬁne ½ Straße", "哈爾登集團"):
        assert len(fold(text)) == len(text)
    assert fold("ＡＢＣ 龍") == "abc 龙"


def test_relevance_falls_from_the_titles_subject_to_the_list_at_the_end(gazetteer: Gazetteer) -> None:
    title = "Halden Group wins order from Greyfold Networks"
    text = "The order is worth 5 million. Analysts at Allworth expect more.\n恒岑科技 is named once, far down."
    relevance = found(gazetteer, title, text)
    assert relevance["halden"] > relevance["bexmoor"] > relevance["hengcen"] > relevance["all"]
    assert min(relevance.values()) > 0 and max(relevance.values()) <= 100


def test_five_companies_in_a_sentence_are_a_list(gazetteer: Gazetteer) -> None:
    text = "Gainers: Halden Group, Halden Marine, Allworth Holdings, Greyfold Networks, Tarnbrook Bank."
    assert max(found(gazetteer, "Markets at noon", text).values()) <= 25


def test_gazetteer_survives_writing_and_reading(tmp_path: Path) -> None:
    path = tmp_path / "gazetteer.csv"
    write_gazetteer(path, COMPANIES)
    assert read_gazetteer(path) == COMPANIES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,ticker\nA,B\n", "the columns company_id are missing"),
        ("company_id,name\na,\n", ":2: a company needs company_id and name"),
        ("company_id,name,valid_from\na,A,31/3/2024\n", ":2: valid_from is '31/3/2024'; write it as 2024-03-31"),
    ],
)
def test_a_bad_gazetteer_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "g.csv"
    path.write_text(text)
    with pytest.raises(HeadwaterError) as caught:
        read_gazetteer(path)
    assert message in str(caught.value) and str(path) in str(caught.value)
