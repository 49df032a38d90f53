#!/bin/sh
# boot.sh ROOT WORK GROUP NODES: Debian's systemd as process 1 of namespaces of its own. Needs root.
#
# ROOT is a root file system, which stays as it is: what is written goes to memory, under WORK.
# GROUP names the control group. NODES lists device nodes: kind, major, minor, mode, group, path.
# Called without a third word it is the second half, inside the namespaces.
set -eu

if [ $# -eq 4 ]; then
    export ROOT="$1" WORK="$2" GROUP="$3" NODES="$4"
    exec unshare --mount --propagation private "$0"
fi
if [ $# -eq 0 ]; then
    mount -t tmpfs -o mode=755 earmark "$WORK"
    mkdir "$WORK/upper" "$WORK/scratch" "$WORK/system" "$WORK/groups"
    mount -t cgroup2 none "$WORK/groups"
    mkdir -p "$WORK/groups/$GROUP"
    echo $$ >"$WORK/groups/$GROUP/cgroup.procs"
    exec unshare --cgroup --pid --fork --kill-child --uts --ipc --net "$0" inside
fi

mount -t overlay -o "lowerdir=$ROOT,upperdir=$WORK/upper,workdir=$WORK/scratch" earmark "$WORK/system"
cd "$WORK/system"
mount -t proc -o nosuid,nodev,noexec proc proc
# The kernel's own settings are the host's as well.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
# Read-only, so that systemd waits for no device: no program here announces any.
mount -t sysfs -o ro,nosuid,nodev,noexec sys sys
mount -t tmpfs -o mode=755,nosuid,nodev run run
mount -t tmpfs -o mode=755,nosuid dev dev
mkdir dev/pts dev/shm dev/snd dev/input
mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
while read -r kind major minor mode group path; do
    mknod -m "$mode" "dev/$path" "$kind" "$major" "$minor"
    # A group that a package makes later: root's until then.
    id=$(sed -n "s/^$group:[^:]*:\([0-9]*\):.*/\1/p" etc/group)
    chown "0:${id:-0}" "dev/$path"
done <"$NODES"
ln -s pcmC0D0c dev/snd/earmark-capture
ln -s controlC0 dev/snd/earmark-control
ln -s event0 dev/input/earmark-mute
ln -s pcmC0D0p dev/snd/earmark-playback
ln -s controlC0 dev/snd/earmark-playback-control
ln -s event2 dev/input/earmark-stop
ln -s /proc/self/fd dev/fd
mount -t devpts -o newinstance,ptmxmode=666 pts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t cgroup2 none sys/fs/cgroup
# Addresses at home and elsewhere, so that the services' own rules are all that lies between.
ip link set lo up
ip address add 10.77.0.1/32 dev lo
ip address add 198.51.100.1/32 dev lo
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
cd /
# Or LoadCredential= would fail without a word.
mount --make-rshared /
exec env -i container=earmark PATH=/usr/sbin:/usr/bin \
    /usr/lib/systemd/systemd --log-target=journal --show-status=false --unit=basic.target
