#!/bin/sh
# Installs Earmark on a Raspberry Pi (Raspberry Pi OS Lite 64-bit) or any Debian 12 or 13. Idempotent:
# a second run changes only what differs. `sh install.sh --help` lists the options.
set -eu
umask 022
export LC_ALL=C

help() {
    cat <<'TEXT'
usage: sudo sh install.sh [option ...]

Install Earmark: the package, the overlays of microphone and switch in the boot configuration, the
sound card, and a configuration file if there is none. No questions are asked.

  --offline DIR      download nothing; DIR has earmark_VERSION_ARCHITECTURE.deb, or the wheels
                     that firmware/lock/ names, from which the package is built
  --microphone KIND  i2s: on the header, wired as in the guide; usb: any USB sound card;
                     respeaker: the two-microphone HAT (default: the card that is found, else i2s)
  --card NAME        the sound card, if there are several; NAME as between the brackets in
                     /proc/asound/cards
  --switch           the mute switch of docs/guides/mute-switch.md is fitted (default with i2s)
  --no-switch        no switch is fitted; mute is software only
  --gpio N           GPIO line of the switch (default: 27, header pin 13)
  --root DIR         install into the system in DIR: an SD card in another computer, an image
  --boot DIR         the boot partition (default: /boot/firmware)
  --architecture A   arm64 or amd64 (default: that of this machine)
  --uninstall        remove Earmark; edited configuration, keys and clips stay
  --erase            with --uninstall: also delete configuration, keys and clips; cannot be undone
  --help             print this help

First installation:      sudo sh install.sh, then reboot, then earmark doctor
A USB microphone:        sudo sh install.sh --microphone usb --no-switch
Without a network:       make deb on another computer, copy dist/ here, sudo sh install.sh --offline dist
Dry run:                 mkdir try && sh install.sh --root try && find try

Exit codes: 0 done, 2 wrong usage, 69 something is not available, 78 a file is wrong.
TEXT
}

fail() {
    printf 'earmark: error: %s\n' "$1" >&2
    [ -z "$2" ] || printf 'earmark: hint: %s\n' "$2" >&2
    exit "$3"
}

# Reports a change. Unchanged files are not reported.
did() {
    is_changed=yes
    printf '%-12s %s\n' "$1" "$2"
}

note() {
    printf '%-12s %s\n' "$1" "$2"
}

main() {
    is_changed=
    needs_reboot=
    read_arguments "$@"
    here=$(cd "$(dirname "$0")" && pwd)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    inspect_system
    if [ -n "$uninstall" ]; then
        uninstall
        exit 0
    fi
    find_package
    for file in "$boot/config.txt" "$custom"; do
        "$block" --check "$file" || exit $?
    done
    find_microphone
    [ "$how" != lay ] || find "$root" -mindepth 1 -type d | sort >"$work/before"
    write_config
    install_package
    write_card_rule
    write_waiting
    write_boot
    enable_units
    finish
}

read_arguments() {
    root='' boot='' offline='' microphone='' card='' switch='' gpio='' uninstall='' erase=''
    architecture=''
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h)
                help
                exit 0
                ;;
            --switch) switch=input ;;
            --no-switch) switch=none ;;
            --uninstall) uninstall=yes ;;
            --erase) erase=yes ;;
            --root=* | --boot=* | --offline=* | --microphone=* | --card=* | --gpio=* | --architecture=*)
                value=${1#*=}
                option=${1%%=*}
                shift
                set -- "$option" "$value" "$@"
                continue
                ;;
            --root | --boot | --offline | --microphone | --card | --gpio | --architecture)
                [ -n "${2:-}" ] || fail "$1 requires a value" "see sh install.sh --help" 2
                case $1 in
                    --root) root=$2 ;;
                    --boot) boot=$2 ;;
                    --offline) offline=$2 ;;
                    --microphone) microphone=$2 ;;
                    --card) card=$2 ;;
                    --gpio) gpio=$2 ;;
                    --architecture) architecture=$2 ;;
                esac
                shift
                ;;
            *) fail "unknown option: $1" "see sh install.sh --help" 2 ;;
        esac
        shift
    done
    case $microphone in
        '' | i2s | usb | respeaker) ;;
        *) fail "unknown microphone kind: $microphone" "use i2s, usb or respeaker" 2 ;;
    esac
    case $gpio in
        '' | [0-9] | 1[0-9] | 2[0-7]) ;;
        *) fail "not a GPIO of the header: $gpio" "use 0 to 27; docs/guides/mute-switch.md lists the free ones" 2 ;;
    esac
    case $gpio in
        18 | 19 | 20 | 21) fail "GPIO $gpio is used by the I2S microphone" "use one of 22 to 27" 2 ;;
    esac
    case $card in
        *[!A-Za-z0-9_-]*) fail "not a valid sound card name: $card" "see cat /proc/asound/cards" 2 ;;
    esac
    [ -z "$erase" ] || [ -n "$uninstall" ] || fail "--erase requires --uninstall" "" 2
    case $root in
        '' | /) root='' ;;
        *)
            [ -d "$root" ] || fail "no such directory: $root" "mkdir -p $root" 69
            root=$(cd "$root" && pwd)
            ;;
    esac
    [ -z "$offline" ] || [ -d "$offline" ] || fail "no such directory: $offline" "" 69
}

# Sets how: here (this system), inside (a system in --root), lay (copy files into --root).
inspect_system() {
    if [ -z "$root" ]; then
        how=here
        [ "$(id -u)" -eq 0 ] || fail "root is required" "run sudo sh $0" 2
    elif [ -e "$root/var/lib/dpkg/status" ] && [ "$(id -u)" -eq 0 ]; then
        how=inside
    else
        how=lay
    fi
    if [ -z "$architecture" ]; then
        architecture=$(run_there dpkg --print-architecture) \
            || fail "not a Debian system: dpkg is missing" \
                "use Raspberry Pi OS Lite (64-bit), Debian 12 or Debian 13" 69
    fi
    case $architecture in
        arm64 | amd64) ;;
        *)
            fail "no package for architecture $architecture" \
                "use Raspberry Pi OS Lite (64-bit); it runs on a Pi 3, 4, 5 and Zero 2 W" 69
            ;;
    esac
    [ -n "$boot" ] || boot=$root/boot/firmware
    custom=$root/etc/default/raspi-firmware-custom
    record=$root/usr/lib/earmark/install
    config=$root/etc/earmark/earmark.toml
    rule=$root/etc/udev/rules.d/71-earmark-card.rules
    waiting=$root/etc/systemd/system/earmark-hear.service.d/switch.conf
    block=$here/deb/lib/boot-block
    # Debian generates config.txt with each kernel, from its own configuration and this file.
    is_debian=
    if [ -e "$root/etc/default/raspi-firmware" ] \
        || grep -qs -e '^upstream_kernel=1' -e 'Do not modify this file' "$boot/config.txt"; then
        is_debian=yes
    fi
}

run_there() {
    if [ "$how" = inside ]; then
        chroot "$root" "$@"
    else
        "$@"
    fi
}

# Sets deb: a package beside this script or in dist/, or one built from local or downloaded wheels.
find_package() {
    deb=
    for folder in ${offline:+"$offline"} "$here" "$here/../dist"; do
        # The newest version.
        deb=$(find "$folder" -maxdepth 1 -name "earmark_*_$architecture.deb" 2>/dev/null | sort -V | tail -n 1)
        [ -z "$deb" ] || break
        [ -z "$offline" ] || break
    done
    if [ -z "$deb" ]; then
        [ -f "$here/deb/__main__.py" ] \
            || fail "earmark_*_$architecture.deb not found" "build it with make deb and put it beside install.sh" 69
        build_package
    fi
    if [ ! -x "$block" ]; then
        block=$work/boot-block
        dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/lib/earmark/boot-block >"$block" \
            || fail "not an Earmark package: $deb" "build it with make deb" 69
        chmod +x "$block"
    fi
}

build_package() {
    note package "building from $([ -n "$offline" ] && echo "$offline" || echo 'downloaded wheels')"
    if [ -z "$offline" ] && [ "$how" = here ]; then
        apt_get install --no-install-recommends python3-pip device-tree-compiler
    fi
    (cd "$here/.." && python3 -m firmware.deb "$architecture" --into "$work" \
        ${offline:+--offline "$offline"}) >/dev/null || exit 69
    deb=$(find "$work" -name 'earmark_*.deb')
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes "$@" >"$work/apt" 2>&1 && return
    tail -n 5 "$work/apt" >&2
    fail "apt-get $1 failed" "check the network and run apt-get update" 69
}

# Sets microphone, card, number (of its capture device) and device (its name in the configuration).
find_microphone() {
    number=0
    cards=$root/proc/asound
    present=
    for folder in "$cards"/card[0-9]*; do
        [ -n "$(find "$folder/" -maxdepth 1 -name 'pcm*c' 2>/dev/null)" ] || continue
        present="$present $(cat "$folder/id")"
    done
    present=${present# }
    if [ -z "$card" ] && [ -n "$present" ]; then
        case " $present " in
            *' earmark '*) [ "$microphone" = usb ] || card=earmark ;;
        esac
        if [ -z "$card" ] && [ "$microphone" != i2s ]; then
            case $present in
                *' '*) fail "several sound cards found: $present" "choose one with --card NAME" 2 ;;
            esac
            card=$present
        fi
    fi
    if [ -z "$microphone" ]; then
        case $card in
            earmark) microphone=i2s ;;
            '') [ ! -e "$boot/config.txt" ] || microphone=i2s ;;
            seeed2mic* | wm8960*) microphone=respeaker ;;
            *) microphone=usb ;;
        esac
    fi
    # Options of an earlier run stay in force.
    if [ -z "$switch" ] && grep -qsE '^switch *= *"none"' "$config"; then
        switch=none
    fi
    if [ -z "$gpio" ]; then
        gpio=$(sed -n 's/^dtoverlay=earmark-mute,gpio=\([0-9]*\).*/\1/p' "$boot/config.txt" 2>/dev/null | tail -n 1)
    fi
    case $microphone in
        i2s)
            card=earmark
            device=earmark_microphone
            [ -n "$switch" ] || switch=input
            ;;
        *)
            [ "$microphone" != respeaker ] || [ -n "$switch" ] || switch=none
            device=$(card_name)
            ;;
    esac
}

# The card's long name, by which PortAudio lists it, up to the first character that TOML would escape.
card_name() {
    [ -n "$card" ] || return 0
    case " $present " in
        *" $card "*) ;;
        *) fail "no capture card named $card" "choose one of: ${present:-none}" 69 ;;
    esac
    sed -n "s/^ *[0-9]* \[$card *\]: .* - //p" "$cards/cards" | sed 's/[^ !#-[^-~].*//'
}

write_config() {
    fresh=$work/config
    {
        echo "# Earmark configuration; /usr/share/doc/earmark/earmark.example.toml lists every key."
        echo 'home = "/var/lib/earmark"'
        if [ -n "$device" ]; then
            printf '\n[microphone]\ndevice = "%s"\n' "$device"
        fi
        case $switch in
            input) printf '\n[mute]\nswitch = "input"\ninput = "/dev/input/earmark-mute"\n' ;;
            none) printf '\n[mute]\nswitch = "none"\n' ;;
        esac
    } >"$fresh"
    if is_untouched; then
        config_digest=$(digest "$fresh")
        put "$fresh" "$config"
        did config "$(named "$config")"
    else
        config_digest=
        if [ -n "$device" ] && ! grep -qF "\"$device\"" "$config"; then
            note config "$(named "$config") is kept; it does not name the microphone $device"
        fi
    fi
}

# No file, or the unedited file of the package.
is_untouched() {
    [ ! -e "$config" ] || cmp -s "$config" "$root/usr/lib/earmark/earmark.toml"
}

install_package() {
    case $how in
        here | inside)
            is_same "$deb" && return
            if [ "$how" = inside ]; then
                mkdir -p "$root/var/cache/earmark"
                cp "$deb" "$root/var/cache/earmark/earmark.deb"
                run_there dpkg --install /var/cache/earmark/earmark.deb \
                    || fail "dpkg failed to install the package" "run apt-get install python3 libportaudio2" 69
                rm -r "$root/var/cache/earmark"
            elif [ -n "$offline" ]; then
                dpkg --install "$deb" \
                    || fail "dpkg failed to install the package" "install python3 and libportaudio2 first" 69
            else
                cp "$deb" "$work/earmark.deb"
                # The _apt user must be able to read it.
                chmod 755 "$work"
                apt_get install --no-install-recommends --reinstall --allow-downgrades "$work/earmark.deb"
            fi
            did package "$(basename "$deb")"
            ;;
        lay) lay_package ;;
    esac
    if [ -n "$config_digest" ]; then
        mkdir -p "$record"
        printf '%s\n' "$config_digest" >"$record/settings"
    fi
}

# Without dpkg: copies each file that differs, and lists all of them for --uninstall.
lay_package() {
    mkdir "$work/tree"
    dpkg-deb --extract "$deb" "$work/tree"
    (cd "$work/tree" && find . -mindepth 1 ! -type d | sort) >"$work/files"
    while IFS= read -r file; do
        from=$work/tree/${file#./}
        to=$root/${file#./}
        if [ -L "$from" ]; then
            [ "$(readlink "$from")" != "$(readlink "$to" 2>/dev/null)" ] || continue
            mkdir -p "$(dirname "$to")"
            ln -sfn "$(readlink "$from")" "$to"
        else
            ! cmp -s "$from" "$to" || continue
            mode=644
            [ ! -x "$from" ] || mode=755
            put "$from" "$to" "$mode"
        fi
        is_laid=yes
    done <"$work/files"
    [ -z "${is_laid:-}" ] || did package "$(basename "$deb"), files only"
    mkdir -p "$record"
    cmp -s "$work/files" "$record/files" || put "$work/files" "$record/files"
}

is_same() {
    dpkg-deb --ctrl-tarfile "$1" | tar -xO ./md5sums >"$work/md5sums" 2>/dev/null \
        || fail "not an Earmark package: $1" "build it with make deb" 69
    cmp -s "$work/md5sums" "$root/var/lib/dpkg/info/earmark.md5sums" || return 1
    # shellcheck disable=SC2016 # the format is dpkg's
    [ "$(run_there dpkg-query --show --showformat '${db:Status-Abbrev}' earmark 2>/dev/null)" = 'ii ' ]
}

# Any card except that of the overlay needs a rule that gives it the names that hear can open.
write_card_rule() {
    template=$root/usr/lib/earmark/71-earmark-card.rules.in
    if [ -z "$card" ] || [ "$card" = earmark ] || [ ! -e "$template" ]; then
        return 0
    fi
    for folder in "$cards/$card"/pcm*c; do
        number=${folder##*/pcm}
        number=${number%c}
        break
    done
    sed -e '/^ACTION/,$!d' -e "s/@CARD@/$card/g" -e "s/@DEVICE@/$number/g" "$template" >"$work/rule"
    if ! cmp -s "$work/rule" "$rule"; then
        put "$work/rule" "$rule"
        did card "$card, device $number: $(named "$rule")"
        if [ "$how" = here ]; then
            udevadm control --reload || :
            udevadm trigger --subsystem-match=sound --subsystem-match=input || :
        fi
    fi
    mixer=/usr/share/earmark/alsa/respeaker-2mic.mixer
    if [ "$how" = here ] && [ "$microphone" = respeaker ] && [ -e "$mixer" ] \
        && command -v amixer >/dev/null; then
        amixer -q -c "$card" -s <"$mixer" || note card "amixer rejected $mixer"
    fi
}

# With a switch, hear waits for its node: a node that appears later could not be opened.
write_waiting() {
    dropin=$root/usr/lib/earmark/drop-ins/switch.conf
    if [ "$switch" = input ] && [ -e "$dropin" ]; then
        cmp -s "$dropin" "$waiting" && return 0
        put "$dropin" "$waiting"
        did units "hear waits for the switch: $(named "$waiting")"
    elif [ -e "$waiting" ]; then
        remove_waiting
        did units "hear does not wait for a switch"
    fi
}

remove_waiting() {
    rm -f "$waiting"
    rmdir "${waiting%/*}" 2>/dev/null || :
}

write_boot() {
    if [ ! -e "$boot/config.txt" ]; then
        note boot "no $(named "$boot")/config.txt: not a Raspberry Pi, no overlays installed"
        return 0
    fi
    for overlay in "$root"/usr/lib/earmark/overlays/*.dtbo; do
        to=$boot/overlays/${overlay##*/}
        cmp -s "$overlay" "$to" && continue
        put "$overlay" "$to"
        did overlay "$(named "$to")"
        needs_reboot=yes
    done
    set --
    if [ "$switch" = input ]; then
        set -- "dtoverlay=earmark-mute"
        [ "${gpio:-27}" = 27 ] || set -- "dtoverlay=earmark-mute,gpio=$gpio"
    fi
    if [ "$microphone" = i2s ] && [ -n "$is_debian" ]; then
        set -- "$@" dtoverlay=earmark-microphone
    elif [ "$microphone" = i2s ]; then
        set -- "$@" dtoverlay=adau7002-simple,card-name=earmark
    fi
    # The file can end in a section for one board only.
    [ $# -eq 0 ] || set -- '[all]' "$@"
    edit_boot "$boot/config.txt" "$@"
    if [ -n "$is_debian" ]; then
        edit_boot "$custom" "$@"
    else
        limit_memory
    fi
}

edit_boot() {
    edited=$1
    shift
    before=$(digest "$edited")
    "$block" "$edited" "$@" || exit $?
    [ "$before" = "$(digest "$edited")" ] && return
    did boot "$(named "$edited"): ${*:-block removed}"
    needs_reboot=yes
}

# Raspberry Pi firmware disables the memory cgroup, which MemoryMax= and MemorySwapMax= need.
limit_memory() {
    line=$boot/cmdline.txt
    [ -s "$line" ] || return 0
    ! grep -qw cgroup_enable=memory "$line" || return 0
    sed '1s/$/ cgroup_enable=memory/' "$line" >"$work/cmdline"
    mkdir -p "$record"
    : >"$record/cgroup"
    put "$work/cmdline" "$line"
    did boot "$(named "$line"): cgroup_enable=memory"
    needs_reboot=yes
}

enable_units() {
    [ "$how" = lay ] || return 0
    for file in "$root"/usr/lib/systemd/system/earmark-*.service; do
        unit=${file##*/}
        # These two are enabled by hand, on the one computer of the household.
        case $unit in earmark-archive.service | earmark-assist.service) continue ;; esac
        systemctl --quiet --root "$root" enable "$unit" >/dev/null 2>&1 || :
    done
    if [ ! -e "$record/folders" ]; then
        find "$root" -mindepth 1 -type d | sort >"$work/after"
        comm -13 "$work/before" "$work/after" | sed "s|^$root/||" >"$work/folders"
        put "$work/folders" "$record/folders"
    fi
}

finish() {
    if [ -z "$is_changed" ]; then
        note earmark "nothing to change"
    fi
    if [ "$how" != here ]; then
        note next "on that system, run earmark doctor"
        [ "$how" = inside ] || note next "only files were copied; /usr/lib/earmark/make-environment installs the program"
        return 0
    fi
    if [ -n "$is_changed" ] && [ -z "$needs_reboot" ] && [ -d /run/systemd/system ]; then
        set -- earmark-hear earmark-send
        # Without a loudspeaker the start would wait for one.
        [ ! -e /dev/snd/earmark-playback-control ] || set -- "$@" earmark-play
        systemctl restart "$@" || :
    fi
    [ -n "$switch" ] || note next "set mute.switch in $config"
    [ -z "$needs_reboot" ] || note next "reboot; microphone and switch are not available before"
    note doctor "the findings below are the remaining steps"
    earmark doctor || :
}

uninstall() {
    if [ ! -x "$block" ]; then
        block=$work/boot-block
        cp "$root/usr/lib/earmark/boot-block" "$block" 2>/dev/null || block=
    fi
    if [ -n "$block" ]; then
        for file in "$boot/config.txt" "$custom"; do
            "$block" --check "$file" || exit $?
        done
        for file in "$boot/config.txt" "$custom"; do
            [ -e "$file" ] || continue
            edit_boot "$file"
        done
    fi
    for overlay in "$root"/usr/lib/earmark/overlays/*.dtbo; do
        rm -f "$boot/overlays/${overlay##*/}"
    done
    line=$boot/cmdline.txt
    if [ -e "$record/cgroup" ] && [ -e "$line" ]; then
        sed '1s/ cgroup_enable=memory//' "$line" >"$work/cmdline"
        put "$work/cmdline" "$line"
    fi
    if is_untouched \
        || [ "$(digest "$config")" = "$(cat "$record/settings" 2>/dev/null)" ]; then
        rm -f "$config"
    fi
    rm -f "$rule"
    remove_waiting
    case $how in
        here | inside)
            if [ -n "$erase" ]; then
                run_there env EARMARK_ERASE=yes dpkg --purge earmark || :
            else
                run_there dpkg --remove earmark || :
            fi
            rm -rf "$record"
            rmdir "$root/usr/lib/earmark" 2>/dev/null || :
            ;;
        lay) remove_files ;;
    esac
    if [ -n "$erase" ]; then
        rm -rf "$root/etc/earmark" "$root/var/lib/earmark" "$root/var/lib/earmark-archive" \
            "$root/var/lib/earmark-archive-public" "$root/var/lib/earmark-assist"
    else
        for kept in "$config" "$root"/var/lib/earmark "$root"/var/lib/earmark-archive \
            "$root"/var/lib/earmark-assist; do
            [ ! -e "$kept" ] || note kept "$(named "$kept"); --erase deletes it"
        done
    fi
    note earmark "uninstalled"
}

remove_files() {
    [ -e "$record/files" ] || return 0
    for file in "$root"/usr/lib/systemd/system/earmark-*.service; do
        systemctl --quiet --root "$root" disable "${file##*/}" >/dev/null 2>&1 || :
    done
    while IFS= read -r file; do
        rm -f "$root/${file#./}"
    done <"$record/files"
    [ ! -e "$record/folders" ] || sort -r "$record/folders" >"$work/folders"
    rm -rf "$record"
    [ ! -e "$work/folders" ] || while IFS= read -r folder; do
        rmdir "$root/$folder" 2>/dev/null || :
    done <"$work/folders"
}

digest() {
    if [ -e "$1" ]; then
        sha256sum <"$1"
    else
        echo none
    fi
}

# Atomic: a power cut while the boot partition is written must not lose its files.
put() {
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.earmark-new"
    chmod "${3:-644}" "$2.earmark-new" 2>/dev/null || :
    sync "$2.earmark-new" 2>/dev/null || sync
    mv -f "$2.earmark-new" "$2"
}

# A path without --root.
named() {
    printf '%s' "${1#"$root"}"
}

main "$@"
