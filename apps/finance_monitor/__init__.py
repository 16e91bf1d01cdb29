"""The finance monitor: from news sources to one trustworthy alert."""
