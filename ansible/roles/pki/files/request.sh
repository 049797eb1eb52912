#!/bin/sh
# request.sh FOLDER NAMES RENEW_DAYS: on a host: prints a certificate request if it needs a
# certificate: none there, soon over, other names, or of another authority than ca-cert.pem. The key
# is made here and never leaves.
set -eu
umask 027
cd "$1"
if [ -e host-cert.pem ] && [ "$(cat names 2>/dev/null)" = "$2" ] &&
    openssl x509 -checkend "$(($3 * 86400))" -noout -in host-cert.pem >/dev/null &&
    openssl verify -CAfile ca-cert.pem host-cert.pem >/dev/null 2>&1; then
    exit 0
fi
if [ ! -e host-key.pem ]; then
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out host-key.pem.new
    chgrp basalt host-key.pem.new
    chmod 640 host-key.pem.new
    mv host-key.pem.new host-key.pem
fi
openssl req -new -key host-key.pem -subj "/CN=$(uname -n)"
