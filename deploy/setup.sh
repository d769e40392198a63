#!/bin/sh
# Make what deploy/compose.yaml needs and nobody else may know: in .env passwords; in secrets/ certificates, who may
# call, and the token of a first caller, who may do everything. What is there stays as it is. Needs openssl.
#
#     deploy/setup.sh [NAME...]      NAME: further DNS names that callers reach the service by
#
# The key of the authority that signs the certificate is not kept: nobody can sign anything with it later. For another
# certificate remove secrets/ca.pem, server.pem and server.key, run this again, and give callers the new ca.pem.
set -eu
cd "$(dirname "$0")"
umask 077
days=365

command -v openssl >/dev/null || {
    echo "deploy/setup.sh needs openssl" >&2
    exit 1
}

random() {
    openssl rand -hex 32
}

sha256() {
    printf %s "$1" | openssl dgst -sha256 -r | cut -d' ' -f1
}

alternative_names() {
    printf 'DNS:localhost,IP:127.0.0.1,DNS:quota'
    [ $# -eq 0 ] || printf ',DNS:%s' "$@"
}

new_key() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$1"
}

# Into a folder first: what is in secrets/ is complete.
make_certificate() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    new_key "$work/ca.key"
    openssl req -x509 -new -key "$work/ca.key" -days $days -subj "/CN=Quota Service" \
        -addext keyUsage=critical,keyCertSign -out "$work/ca.pem"
    new_key "$work/server.key"
    openssl req -new -key "$work/server.key" -subj "/CN=quota" -out "$work/server.csr"
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$(alternative_names "$@")" >"$work/extensions"
    openssl x509 -req -in "$work/server.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial \
        -days $days -extfile "$work/extensions" -out "$work/server.pem" 2>"$work/said" || {
        cat "$work/said" >&2
        exit 1
    }
    mv "$work/ca.pem" "$work/server.key" "$work/server.pem" secrets/
}

mkdir -p secrets
[ -f .env ] || printf 'POSTGRES_PASSWORD=%s\nSERVICE_PASSWORD=%s\nVALKEY_PASSWORD=%s\nQUOTA_KEY_PEPPER=%s\n' \
    "$(random)" "$(random)" "$(random)" "$(random)" >.env
[ -f secrets/server.pem ] || make_certificate "$@"
if [ ! -f secrets/token ]; then
    token=qt_$(random)
    printf 'callers:\n  operator: {role: admin, organization: "*", token_sha256: %s}\n' "$(sha256 "$token")" \
        >secrets/callers.yaml
    echo "$token" >secrets/token
fi
# Everybody may ping, which is what the health check does; only the service may do more.
password=$(sed -n 's/^VALKEY_PASSWORD=//p' .env)
printf 'user default on nopass resetkeys resetchannels -@all +ping\nuser quota on #%s ~* &* +@all\n' \
    "$(sha256 "$password")" >secrets/valkey.acl
# Containers read these as users who own none of them. On this machine nobody else gets into the folder.
chmod 644 secrets/ca.pem secrets/server.pem secrets/server.key secrets/callers.yaml secrets/valkey.acl

cat <<END
Passwords are in deploy/.env; certificates, callers and the first caller's token in deploy/secrets. Now:

    docker compose -f deploy/compose.yaml up --detach
    export QUOTA_CA=deploy/secrets/ca.pem QUOTA_TOKEN_FILE=deploy/secrets/token
    quota apply -f examples/acme.yaml
END
