#!/bin/sh
# make_ca.sh FOLDER DAYS: a cluster's authority, made once on the control node.
set -eu
umask 077
mkdir -p "$1"
[ ! -e "$1/ca-cert.pem" ] || exit 0
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$2" \
    -subj "/CN=Basalt cluster $(openssl rand -hex 4)" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$1/ca-key.pem" -out "$1/ca-cert.pem.new" 2>/dev/null
mv "$1/ca-cert.pem.new" "$1/ca-cert.pem"
echo changed
