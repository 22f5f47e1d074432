#!/bin/sh
# Sets up a fresh Debian for building, testing, measuring and showing cnikit: the packages of the system that are
# missing, then those of npm. Needs Node and nothing else; does nothing, and quickly, when all is there.
# With the word "vm": what the second kernel needs, instead (scripts/run-tests.ts asks for that when it comes to it).
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "setup: $1" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail 'network namespaces need root: run this as root (sudo npm test, sudo npm run demo)'
command -v apt-get >/dev/null || fail 'no apt-get: this works on Debian and its relatives; elsewhere install what scripts/setup.sh lists'
node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
  fail "Node $(node --version) is too old: 20 or later is needed"

# What the tests, the benchmark and the demo run. containernetworking-plugins are the Go plugins they compare with.
packages='ca-certificates iproute2 iptables nftables iputils-ping curl procps
  containernetworking-plugins containerd podman runc busybox-static strace iperf3 etcd-server etcd-client
  firewalld dbus-daemon systemd'
if [ "${1:-}" = vm ]; then
  packages='qemu-system-x86 busybox-static kmod'
  # Debian 12 ships it with qemu.
  grep -q '^VERSION_ID="12"' /etc/os-release || packages="$packages virtiofsd"
fi
# shellcheck disable=SC2086 # one word each
installed=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' $packages 2>/dev/null || true)"
missing=''
for package in $packages; do
  case $installed in *" installed=$package "*) ;; *) missing="$missing $package" ;; esac
done
if [ -n "$missing" ]; then
  echo "setup: installing$missing"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  # etcd and containerd are started by the tests, with settings of their own: as a service they would be in the way.
  policy=/usr/sbin/policy-rc.d
  if [ -e "$policy" ]; then policy=''; else
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
  fi
  # shellcheck disable=SC2086
  if ! { apt-get -q update && apt-get -q install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install$missing"
  fi
  rm -f "$log"
  [ -z "$policy" ] || rm -f "$policy"
  trap - EXIT INT TERM HUP
fi

[ "${1:-}" != vm ] || exec sh scripts/vm/prepare.sh

# npm writes this file last.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo 'setup: installing npm packages'
  npm ci --no-audit --no-fund --loglevel=error || fail 'npm ci failed'
  touch node_modules/.package-lock.json
fi
