#!/bin/busybox sh
# Process 1 of the guest's initramfs: the host's file system, read-only, under one in memory that takes what is written.
# CHECKOUT comes from the kernel's command line.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_console virtiofs overlay; do modprobe "$module" || echo "no module $module"; done

mount -o ro -t virtiofs host /host || echo 'the host shares no file system'
mount -t tmpfs tmpfs /written
mkdir /written/files /written/work
mount -t overlay -o lowerdir=/host,upperdir=/written/files,workdir=/written/work overlay /root

# The host's own state is not the guest's. The checkout may lie below one of these.
mount --bind "/root$CHECKOUT" /checkout
for directory in run tmp var/lib var/tmp; do mount -t tmpfs tmpfs "/root/$directory"; done
mkdir -p "/root$CHECKOUT"
mount --move /checkout "/root$CHECKOUT"
for directory in proc sys dev; do mount --move "/$directory" "/root/$directory"; done

exec switch_root /root /bin/sh "$CHECKOUT/scripts/vm/session.sh"
