#!/bin/sh
# SPDX-License-Identifier: MIT
#
# anew.sh RESULT COMMAND... - the command, which makes RESULT, with nothing of an earlier one there:
# of other settings or files the engine would keep it.
set -eu
name=${1%.h5}
rm -rf "$1" "$name.summary.h5" "$name.units"
shift
exec "$@"
