#!/bin/sh
# Put Debian's Redis (7.0 on Debian 12) into a folder of its own, for tests: nothing of the system is touched, and
# no rights are needed. Running it again does nothing.
#
#     scripts/fetch_redis.sh FOLDER      makes FOLDER/redis-server, and FOLDER/openssl to try TLS with
#
# Exits with 3, and says why, where there are no Debian packages to be had.
set -eu

folder=$1
programs="redis-server openssl"
packages="redis-server redis-tools libatomic1 libjemalloc2 liblzf1 libssl3 openssl"

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "this is no Debian: there is no apt-get or no dpkg"
    exit 3
fi

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
exec 9>"$folder/lock"
flock 9 # several test processes may want it at the same moment
[ ! -f "$folder/complete" ] || exit 0

work=$(mktemp -d "$folder/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$folder/root"

# apt as any user: what it would write into the system it writes into the folder.
apt() {
    apt-get -qq -o Dir::Cache="$work/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::http::Timeout=20 -o Acquire::Retries=2 "$@"
}

download() {
    # shellcheck disable=SC2086 # a list of words
    (cd "$work/debs" && apt "$@" download $packages)
}

# The machine's package lists may be missing, or be older than the archive.
if ! download 2>"$work/why"; then
    rm -f "$work/debs/"*
    apt -o Dir::State::lists="$work/lists" update
    download -o Dir::State::lists="$work/lists"
fi
for package in "$work/debs/"*.deb; do
    dpkg-deb --extract "$package" "$folder/root"
done

libraries=usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
for program in $programs; do
    cat >"$folder/$program" <<EOF
#!/bin/sh
root=\$(dirname "\$0")/root
LD_LIBRARY_PATH=\$root/$libraries exec "\$root/usr/bin/$program" "\$@"
EOF
    chmod +x "$folder/$program"
done
"$folder/redis-server" --version
touch "$folder/complete"
