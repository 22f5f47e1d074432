#!/bin/sh
# Process 1 of the guest once it has its file system: runs the tests that the host names, one after another. The port is
# that of guest.ts: "path seconds" comes in, what the test prints and how it ended go out.
# CHECKOUT, NODE and CNIKIT_EMULATED come from the kernel's command line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
kernel=$(uname -r)

# Where the kernel's own modprobe finds the modules: kinds of links and the like load when first asked for.
mkdir -p "/lib/modules/$kernel" /run/netns /run/lock
mount --bind "$CHECKOUT/dist/vm/kernel/lib/modules/$kernel" "/lib/modules/$kernel"
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
# What udev and systemd would make: opening the device loads tun.
mkdir -p /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
cd "$CHECKOUT" || exit 1

set -- /dev/vport*
# It can be opened once.
exec <>"$1" >&0 2>&1
echo "guest: ready, Linux $kernel"
while read -r file seconds; do
  TAP_TIMEOUT=$seconds timeout -k 10 "$((seconds + 10))" "$NODE" "$file" </dev/null
  echo "guest: $file ended with status $?"
done
