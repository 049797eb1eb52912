#!/bin/sh
# install_release.sh RELEASES_DIR ID: unpacks ID.tar there into a virtual environment of its own on
# Debian's Python, which nbdkit loads too. Whole or not at all.
set -eu
folder="$1/$2"
rm -rf "$folder"
/usr/bin/python3 -m venv "$folder"
mkdir "$folder/wheels"
tar -xf "$1/$2.tar" -C "$folder/wheels"
"$folder/bin/pip" --quiet --disable-pip-version-check --no-cache-dir \
    install --no-index --find-links "$folder/wheels" basalt
# libnbd's module comes with Debian's package and fits its library.
site="$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
for file in /usr/lib/python3/dist-packages/nbd.py /usr/lib/python3/dist-packages/libnbdmod*.so; do
    ln -sf "$file" "$site/"
done
"$folder/bin/python" -c 'import nbd, appliance'
rm -rf "$folder/wheels" "$1/$2.tar"
sync -f "$folder"
touch "$folder/.complete"
