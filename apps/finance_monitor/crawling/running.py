"""One run of the spider in this process."""

import os
import sys
from urllib.parse import urlsplit

from scrapy.crawler import CrawlerProcess

from finance_monitor.crawling.addresses import is_private
from finance_monitor.crawling.etiquette import Etiquette
from finance_monitor.crawling.record import Record
from finance_monitor.crawling.spider import SourceSpider
from finance_monitor.domain import Source
from headwater.settings import Settings
from headwater.storage.blobs import open_blobs

_CONCURRENT = 4


def user_agent(settings: Settings) -> str:
    """Who asks, and whom the site's owner may write to (HEADWATER_CRAWLER_CONTACT: an address of mail or web)."""
    contact = settings.crawler_contact
    return f"Headwater/0.1 (news monitor; {f'+{contact}' if contact else 'respects robots.txt'})"


def run_spider(settings: Settings, source: Source, record: Record, deadline: float, timeout: float) -> None:
    """Run one crawl in this process and end with it; the reactor cannot be used again."""
    own_address_is_private = is_private(urlsplit(source.url).hostname or "")
    process = CrawlerProcess(
        {
            "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
            "USER_AGENT": user_agent(settings),
            "ROBOTSTXT_OBEY": False,  # Etiquette does, and says what it found
            "HTTPERROR_ALLOW_ALL": True,
            "DOWNLOAD_DELAY": source.delay,
            "RANDOMIZE_DOWNLOAD_DELAY": source.delay > 0,
            "CONCURRENT_REQUESTS": _CONCURRENT,
            "CONCURRENT_REQUESTS_PER_DOMAIN": _CONCURRENT if source.delay == 0 else 1,
            "DOWNLOAD_TIMEOUT": timeout,
            "DOWNLOAD_MAXSIZE": settings.max_document_bytes,
            "DOWNLOAD_WARNSIZE": 0,
            "DOWNLOAD_FAIL_ON_DATALOSS": True,
            "CLOSESPIDER_TIMEOUT": deadline,
            "REDIRECT_MAX_TIMES": 6,
            "METAREFRESH_ENABLED": False,
            # A cut connection is worth one more try at once; a host that hangs or refuses is not.
            "RETRY_TIMES": 1,
            "RETRY_HTTP_CODES": [],
            "RETRY_EXCEPTIONS": [
                "scrapy.exceptions.DownloadFailedError",
                "scrapy.exceptions.ResponseDataLossError",
                "twisted.internet.error.ConnectionDone",
                "twisted.internet.error.ConnectionLost",
            ],
            "RETRY_GIVE_UP_LOG_LEVEL": "DEBUG",
            # Pages in the order of the feed; Scrapy's own choice is the last first.
            "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",
            "COOKIES_ENABLED": False,
            "REFERER_ENABLED": False,
            # Nothing listens: the order came by a pipe.
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            # Loading the others costs as much as a small crawl, even switched off.
            "EXTENSIONS_BASE": {"scrapy.extensions.closespider.CloseSpider": 0},
            # Neither files nor anything else than the web.
            "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")),
            "LOG_ENABLED": False,
            "LOG_INSTALL_ROOT_HANDLER": False,
            "LOG_VERSIONS": [],
            "LOGSTATS_INTERVAL": 0,
            "STATS_DUMP": False,
            "MEMUSAGE_ENABLED": False,
            "DNS_TIMEOUT": min(timeout, 20.0),
            # It would drop requests without a word; addresses are cut to what a column holds.
            "URLLENGTH_LIMIT": 0,
            "HEADWATER_ALLOW_PRIVATE": settings.allow_private_urls or own_address_is_private,
            # Next to the downloader, so that a redirect is checked as well.
            "DOWNLOADER_MIDDLEWARES": {Etiquette: 950},
        }
    )
    crawler = process.create_crawler(SourceSpider)
    process.crawl(
        crawler,
        source=source,
        record=record,
        blobs=open_blobs(settings),
        timeout=timeout,
        deadline=deadline,
        reading=float(settings.max_reading_seconds),
    )
    process.start()
    spider = crawler.spider
    if isinstance(spider, SourceSpider) and spider.stuck:
        # The thread that reads a page without end would keep the process.
        sys.stdout.flush()
        os._exit(0)
