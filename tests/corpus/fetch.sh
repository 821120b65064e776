#!/usr/bin/env bash
# Fetches the corpus into a folder outside the repository:
#   tests/corpus/fetch.sh ~/.cache/kinglet-corpus
# CACHE/files/pillow/ is Tests/images of Debian's source of Pillow, CACHE/files/mate/ the pictures of
# mate-backgrounds. A second run does nothing. Nothing of the machine's own apt settings changes.
set -euo pipefail

# The release whose Tests/images the goal was set on: 961 files.
SUITE=bookworm
PILLOW_FILES=961

[ $# -eq 1 ] || { echo "usage: $0 CACHE_FOLDER" >&2; exit 2; }
mkdir -p "$1"
cache=$(cd "$1" && pwd)
[ -e "$cache/complete" ] && { echo "$cache is complete"; exit 0; }

apt=$cache/apt
mkdir -p "$apt"/{lists/partial,parts,download}
chmod -R a+rX "$cache"

# The machine's own Debian sources, with source packages turned on and the suite pinned.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=$(sed -n 's/#.*//; s#.*\(https*://[^ ]*/debian\)/*\( .*\|$\)#\1#p' \
    $(find /etc/apt/sources.list /etc/apt/sources.list.d -type f 2>/dev/null) | sort -u | head -n 1)
[ -n "$mirror" ] || { echo "no Debian archive among this machine's apt sources" >&2; exit 2; }
cat > "$apt/corpus.sources" <<EOF
Types: deb deb-src
URIs: $mirror
Suites: $SUITE
Components: main
Signed-By: $keyring
EOF

own=(-o "Dir::Etc::sourcelist=$apt/corpus.sources" -o "Dir::Etc::sourceparts=$apt/parts"
    -o "Dir::State::lists=$apt/lists" -o APT::Sandbox::User=root)
apt-get "${own[@]}" -q update
cd "$apt/download"
apt-get "${own[@]}" -q source --download-only pillow
apt-get "${own[@]}" -q download mate-backgrounds

rm -rf "$cache/files" "$apt/unpacked"
mkdir -p "$cache/files/pillow" "$cache/files/mate" "$apt/unpacked"
tar -xf pillow_*.orig.tar.* -C "$apt/unpacked" --strip-components=1
cp -r "$apt/unpacked/Tests/images/." "$cache/files/pillow/"
dpkg-deb -x mate-backgrounds_*.deb "$apt/unpacked/mate"
# Debian links some names to other pictures; each picture counts once.
(cd "$apt/unpacked/mate/usr/share/backgrounds/mate" &&
    find . -type f ! -name '*.xml' -exec cp --parents {} "$cache/files/mate/" \;)

found=$(find "$cache/files/pillow" -type f | wc -l)
[ "$found" -eq "$PILLOW_FILES" ] || { echo "expected $PILLOW_FILES files of Pillow's, found $found" >&2; exit 1; }
touch "$cache/complete"
echo "$(find "$cache/files" -type f | wc -l) files in $cache/files"
