#!/bin/sh
# Options alone are Locust's, as Kubernetes operators give them; anything else is a command of its own.
case "$1" in
    -*) exec locust "$@" ;;
    *) exec "$@" ;;
esac
