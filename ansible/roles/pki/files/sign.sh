#!/bin/sh
# sign.sh FOLDER NAMES DAYS <REQUEST >CERTIFICATE: on the control node, which has the CA's key.
set -eu
umask 077
extensions="$(mktemp)"
trap 'rm -f "$extensions"' EXIT
cat >"$extensions" <<END
basicConstraints=critical,CA:false
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=$2
END
openssl x509 -req -CA "$1/ca-cert.pem" -CAkey "$1/ca-key.pem" -set_serial "0x$(openssl rand -hex 16)" \
    -days "$3" -extfile "$extensions" 2>/dev/null
