"""The finance monitor's dashboard: `streamlit run` starts here."""

from finance_monitor.dashboard import alerts, company, label, present, search, sources, timeline
from finance_monitor.wording import dashboard_words
from headwater.dash import DashboardPage, run_dashboard

run_dashboard(
    "Headwater finance",
    ":material/monitoring:",
    dashboard_words,
    (
        DashboardPage("now", ":material/notifications_active:", present.draw),
        DashboardPage("timeline", ":material/show_chart:", timeline.draw),
        DashboardPage("company", ":material/domain:", company.draw),
        DashboardPage("search", ":material/search:", search.draw),
        DashboardPage("alerts", ":material/outgoing_mail:", alerts.draw),
        DashboardPage("sources", ":material/rss_feed:", sources.draw),
        DashboardPage("label", ":material/label:", label.draw),
    ),
)
