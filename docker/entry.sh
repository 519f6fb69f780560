#!/bin/sh
# Arguments that start with an option are for Locust (as Kubernetes operators pass them); anything else is a command.
case "$1" in
    -*) exec locust "$@" ;;
    *) exec "$@" ;;
esac
