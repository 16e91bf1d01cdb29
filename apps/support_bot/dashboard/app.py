"""The support bot's dashboard: `streamlit run` starts here."""

from headwater.dash import DashboardPage, run_dashboard
from support_bot.dashboard import chat, conversations, documents, models, tune
from support_bot.wording import dashboard_words

run_dashboard(
    "Headwater support",
    ":material/support_agent:",
    dashboard_words,
    (
        DashboardPage("chat", ":material/forum:", chat.draw),
        DashboardPage("documents", ":material/library_books:", documents.draw),
        DashboardPage("conversations", ":material/history:", conversations.draw),
        DashboardPage("models", ":material/model_training:", models.draw),
        DashboardPage("tune", ":material/tune:", tune.draw),
    ),
)
