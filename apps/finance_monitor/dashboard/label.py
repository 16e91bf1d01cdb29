"""What the model is least sure of, to be labelled for the next tuning."""

import streamlit as st

from headwater.dash import Gateway, attempt, plain
from headwater.errors import HeadwaterError

_LABELS = ("negative", "neutral", "positive")


def draw(gateway: Gateway, words: dict[str, str], language: str) -> None:
    st.title(words["label"])
    st.caption(words["label_intro"])
    with attempt(words["no_gateway"]):
        found = gateway.get("/finance/v1/to-label", limit=12)
        if not found:
            st.info(words["nothing_to_label"])
        for row in found:
            key = f"{row['article_id']}-{row['company_id']}"
            with st.container(border=True):
                st.markdown(f"**{plain(row['name'])}**  \n{plain(row['sentence'] or row['title'])}")
                columns = st.columns(len(_LABELS))
                for column, name in zip(columns, _LABELS, strict=True):
                    if column.button(f"{words[name]} {row[name]:.0%}", key=f"{key}-{name}", width="stretch"):
                        body = {"article_id": row["article_id"], "company_id": row["company_id"], "value": name}
                        try:
                            gateway.post("/finance/v1/corrections", body)
                            st.toast(words["kept"])
                        except HeadwaterError as error:
                            st.error(plain(str(error)))
