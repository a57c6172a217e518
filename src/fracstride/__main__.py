"""``python -m fracstride`` shows what is installed."""

from fracstride import show_config

show_config()
