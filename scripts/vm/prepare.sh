#!/bin/sh
# Makes dist/vm: Debian's kernel for virtual machines with its modules, and the initramfs that starts a guest on the
# host's file system. The kernel's package is unpacked, not installed: installing one runs hooks that make an initramfs
# for this host and change its boot loader, and a container has neither. It comes from apt's own sources and is checked
# by apt. Called by scripts/setup.sh, which installs the programs; does nothing when all is there.
set -eu
cd "$(dirname "$0")/../.."
directory=dist/vm

case $(dpkg --print-architecture) in
  amd64) metapackage=linux-image-cloud-amd64 ;;
  *) echo "vm: only amd64 machines can run the second kernel, not $(dpkg --print-architecture)" >&2 && exit 1 ;;
esac

# The metapackage depends on the newest kernel; the package lists may be older than the archive, or not there at all.
newest() {
  apt-cache depends --important "$metapackage" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}
# Two runs may come here at once.
mkdir -p dist
exec 9>dist/vm.lock
flock 9

# Nothing is asked of the network when a kernel is there.
if [ ! -e "$directory/kernel/complete" ]; then
  rm -rf "$directory"
  mkdir -p "$directory/package"
  # apt downloads as a user of its own, who need not be able to write here.
  fetch() { (cd "$directory/package" && apt-get -q -o APT::Sandbox::User=root download "$(newest)") >"$directory/log" 2>&1; }
  if ! { [ -n "$(newest)" ] && fetch; } && ! { apt-get -q update >"$directory/log" 2>&1 && fetch; }; then
    cat "$directory/log" >&2
    echo "vm: apt-get could not download the kernel of $metapackage" >&2
    exit 1
  fi
  echo "vm: unpacking $(newest)"
  dpkg-deb -x "$directory"/package/*.deb "$directory/kernel"
  rm -rf "$directory/package" "$directory/log"
  depmod -b "$directory/kernel" "$(ls "$directory/kernel/lib/modules")"
  touch "$directory/kernel/complete"
fi

initramfs=$directory/initramfs
if [ ! -e "$initramfs" ] || [ -n "$(find scripts/vm/init.sh scripts/vm/prepare.sh -newer "$initramfs")" ]; then
  release=$(ls "$directory/kernel/lib/modules")
  tree=$(mktemp -d)
  trap 'rm -rf "$tree"' EXIT
  (cd "$tree" && mkdir -p bin proc sys dev host written checkout root lib/modules)
  cp /bin/busybox "$tree/bin/busybox"
  install -m 755 scripts/vm/init.sh "$tree/init"
  for module in virtio_pci virtio_console virtiofs overlay; do
    modprobe -d "$directory/kernel" -S "$release" --show-depends "$module"
  done | sed -n 's/^insmod //p' | sort -u | while read -r path; do
    install -D -m 644 "$path" "$tree/lib/modules/${path##*/lib/modules/}"
  done
  # depmod asks for them.
  for list in modules.order modules.builtin modules.builtin.modinfo; do
    cp "$directory/kernel/lib/modules/$release/$list" "$tree/lib/modules/$release/"
  done
  depmod -b "$tree" "$release"
  (cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null) >"$initramfs.new"
  mv "$initramfs.new" "$initramfs"
fi
