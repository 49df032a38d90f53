#!/bin/sh
# `make deb-check`: installs, upgrades and removes the package in fresh Debian 12 and 13 systems.
# Needs root, mmdebstrap and a network; takes some minutes. The systems are cached in build/systems.
set -eu
cd "$(dirname "$0")/../.."
architecture=$(dpkg --print-architecture)
deb=$(find dist -name "earmark_*_$architecture.deb" | sort -V | tail -n 1)
[ -n "$deb" ] || {
    echo "earmark: error: no package for $architecture in dist" >&2
    echo "earmark: hint: run make deb" >&2
    exit 69
}

inside() {
    # Own mounts, and the devices of this machine; no parameter of this kernel can be changed.
    # shellcheck disable=SC2016 # the inner shell expands them
    unshare --mount --pid --fork sh -c 'mount -t proc proc "$0/proc"
        mount --bind "$0/proc/sys" "$0/proc/sys"
        mount -o remount,ro,bind "$0/proc/sys"
        mount -t tmpfs run "$0/run"
        mount --rbind /dev "$0/dev"
        exec chroot "$0" "$@"' "$root" "$@"
}

for suite in trixie bookworm; do
    clean=build/systems/$suite
    root=build/systems/try
    if [ ! -e "$clean/etc/debian_version" ]; then
        mkdir -p build/systems
        mmdebstrap --quiet --mode=root --variant=minbase \
            --include=python3,libportaudio2,systemd,systemd-sysv,udev "$suite" "$clean" \
            http://deb.debian.org/debian
    fi
    rm -rf "$root"
    cp -a "$clean" "$root"
    cp "$deb" "$root/tmp/earmark.deb"
    echo "== $suite: install"
    inside dpkg --install /tmp/earmark.deb
    inside earmark --version
    inside earmark models check
    echo "== $suite: no service listens until the computer is a speaker"
    ls "$root/etc/systemd/system/multi-user.target.wants"
    [ ! -e "$root/etc/systemd/system/multi-user.target.wants/earmark-hear.service" ]
    inside /usr/lib/earmark/set-role hub
    [ -L "$root/etc/systemd/system/multi-user.target.wants/earmark-archive.service" ]
    [ ! -L "$root/etc/systemd/system/multi-user.target.wants/earmark-send.service" ]
    inside /usr/lib/earmark/set-role speaker
    inside setpriv --reuid earmark-hear --regid earmark-hear --init-groups \
        env HOME=/nonexistent ORT_DISABLE_TELEMETRY=1 /opt/earmark/current/bin/python3 -c 'import sounddevice, onnxruntime'
    echo "== $suite: install again, and upgrade"
    inside dpkg --install /tmp/earmark.deb
    echo '# mine' >>"$root/etc/earmark/earmark.toml"
    inside dpkg --install /tmp/earmark.deb
    tail -n 1 "$root/etc/earmark/earmark.toml" | grep -qx '# mine'
    ls "$root/etc/systemd/system/multi-user.target.wants"
    [ -L "$root/etc/systemd/system/dev-snd-earmark\\x2dplayback.device.wants/earmark-play.service" ]
    [ ! -e "$root/etc/systemd/system/multi-user.target.wants/earmark-archive.service" ]
    [ ! -e "$root/etc/systemd/system/multi-user.target.wants/earmark-assist.service" ]
    echo "== $suite: remove; keys stay"
    touch "$root/var/lib/earmark/device.key"
    inside dpkg --remove earmark
    [ ! -e "$root/opt/earmark" ] && [ ! -e "$root/usr/lib/earmark" ]
    inside dpkg --purge earmark
    [ -e "$root/var/lib/earmark/device.key" ]
    inside dpkg --install /tmp/earmark.deb
    [ -L "$root/etc/systemd/system/multi-user.target.wants/earmark-hear.service" ]
    echo "== $suite: purge with EARMARK_ERASE; nothing stays"
    inside env EARMARK_ERASE=yes dpkg --purge earmark
    left=$(find "$root" -xdev -path '*earmark*' ! -path '*/tmp/*')
    [ -z "$left" ] || {
        printf 'earmark: error: files left after purge:\n%s\n' "$left" >&2
        exit 1
    }
    if grep earmark "$root/etc/passwd" "$root/etc/group"; then exit 1; fi
    rm -rf "$root"
done
if command -v lintian >/dev/null; then
    # The package has no maintainer address yet, and its program is in /opt on purpose.
    lintian --fail-on error --suppress-tags \
        bogus-mail-host,bogus-mail-host-in-debian-changelog,dir-or-file-in-opt "$deb"
fi
echo "install, upgrade and removal work on Debian 12 and 13"
