#!/bin/sh
# Installs Earmark on a Raspberry Pi (Raspberry Pi OS Lite 64-bit) or any Debian 12 or 13. Idempotent:
# a second run changes only what differs. `sh install.sh --help` lists the options.
set -eu
umask 022
export LC_ALL=C

help() {
    cat <<'TEXT'
usage: sudo sh install.sh [option ...]

Install Earmark. On a speaker: the package, the overlays of microphone and switch in the boot
configuration, the sound card, and a configuration file if there is none. On a hub: the package,
mosquitto, the household's certificates, and the archive. No questions are asked.

  --speaker          this computer is a speaker (default)
  --hub              this computer is the household's hub: it runs the broker and the archive.
                     Both options together: it is both
  --host NAME        with --hub: name or address by which speakers and owners reach it; may be
                     repeated (default: its own names)
  --name NAME        with --hub --speaker: name of this speaker; it joins the household at once
  --keeper NAME      with --name: owner to whom it encrypts
  --keeper-key KEY   with --keeper: the owner's public key, age1..., unless the household has it
  --offline DIR      download nothing; DIR has earmark_VERSION_ARCHITECTURE.deb, or the wheels
                     that firmware/lock/ names, from which the package is built; and the .deb
                     files of Debian that are not installed yet
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

An option of an earlier run stays in force until another one is given. An option that cannot take
effect is an error, and nothing is changed.

First installation:      sudo sh install.sh, then reboot, then earmark doctor
A USB microphone:        sudo sh install.sh --microphone usb --no-switch
A hub:                   sudo sh install.sh --hub --host home.lan
Both on one board:       sudo sh install.sh --hub --speaker --name kitchen --keeper ada \
                             --keeper-key age1... --microphone usb --no-switch
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
    needs_limits=
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
    find_roles
    find_package
    for file in "$boot/config.txt" "$custom"; do
        "$block" --check "$file" || exit $?
    done
    if [ -n "$speaker" ]; then
        find_microphone
        plan_config
    fi
    find_dependencies
    # Everything that can be refused was checked; changes begin here.
    [ "$how" != lay ] || find "$root" -mindepth 1 -type d | sort >"$work/before"
    [ -z "$speaker" ] || write_config
    install_package
    write_record
    write_roles
    if [ -n "$speaker" ]; then
        write_card_rule
        write_waiting
        write_boot
    fi
    enable_units
    [ -z "$hub" ] || set_up_hub
    [ -z "$speaker_name" ] || add_speaker
    finish
}

read_arguments() {
    root='' boot='' offline='' microphone='' card='' switch='' gpio='' uninstall='' erase=''
    architecture='' hub='' speaker='' hosts='' speaker_name='' keeper='' keeper_key=''
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h)
                help
                exit 0
                ;;
            --hub) hub=yes ;;
            --speaker) speaker=yes ;;
            --switch) switch=input ;;
            --no-switch) switch=none ;;
            --uninstall) uninstall=yes ;;
            --erase) erase=yes ;;
            --root=* | --boot=* | --offline=* | --microphone=* | --card=* | --gpio=* | --architecture=* \
                | --host=* | --name=* | --keeper=* | --keeper-key=*)
                value=${1#*=}
                option=${1%%=*}
                shift
                set -- "$option" "$value" "$@"
                continue
                ;;
            --root | --boot | --offline | --microphone | --card | --gpio | --architecture | --host \
                | --name | --keeper | --keeper-key)
                [ -n "${2:-}" ] || fail "$1 requires a value" "see sh install.sh --help" 2
                case $1 in
                    --root) root=$2 ;;
                    --boot) boot=$2 ;;
                    --offline) offline=$2 ;;
                    --microphone) microphone=$2 ;;
                    --card) card=$2 ;;
                    --gpio) gpio=$2 ;;
                    --architecture) architecture=$2 ;;
                    --host) hosts="$hosts --host $2" ;;
                    --name) speaker_name=$2 ;;
                    --keeper) keeper=$2 ;;
                    --keeper-key) keeper_key=$2 ;;
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
    case $hosts in
        *[!A-Za-z0-9.:\ -]*) fail "not a valid host name: ${hosts##* }" "use a name such as home.lan" 2 ;;
    esac
    [ -z "$hosts" ] || [ -n "$hub" ] || fail "--host requires --hub" "see sh install.sh --help" 2
    if [ -n "$speaker_name$keeper$keeper_key" ] && { [ -z "$hub" ] || [ -z "$speaker" ]; }; then
        fail "--name, --keeper and --keeper-key require --hub --speaker" \
            "a speaker of another hub joins with earmark household join" 2
    fi
    [ -n "$speaker_name" ] || [ -z "$keeper" ] || fail "--keeper requires --name" "" 2
    [ -n "$keeper" ] || [ -z "$keeper_key" ] || fail "--keeper-key requires --keeper" "" 2
    named="$microphone$card$switch$gpio"
    if [ -n "$hub" ] && [ -z "$speaker" ] && [ -n "$named" ]; then
        fail "a hub has no microphone and no switch" "pass --hub --speaker if it is both" 2
    fi
    if [ -n "$uninstall" ] && [ -n "$named$hub$speaker" ]; then
        fail "--uninstall removes everything: an option of the installation has no effect" \
            "run sh install.sh --uninstall" 2
    fi
    if [ "$microphone" = i2s ] && [ -n "$card" ] && [ "$card" != earmark ]; then
        fail "the I2S microphone is the sound card earmark, not $card" "leave --card out" 2
    fi
    named_microphone=$microphone named_card=$card named_switch=$switch named_gpio=$gpio
    [ -z "$erase" ] || [ -n "$uninstall" ] || fail "--erase requires --uninstall" "" 2
    case $root in
        '' | /) root='' ;;
        *)
            [ -d "$root" ] || fail "no such directory: $root" "mkdir -p $root" 69
            root=$(cd "$root" && pwd)
            ;;
    esac
    [ -z "$offline" ] || [ -d "$offline" ] || fail "no such directory: $offline" "" 69
    [ -z "$boot" ] || [ -d "$boot" ] || fail "no such directory: $boot" "mount the boot partition" 69
    [ -z "$hub" ] || [ -z "$root" ] \
        || fail "--hub sets up this computer, and --root is another" "run install.sh --hub on the hub" 2
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
    preset=$root/etc/systemd/system-preset/80-earmark.preset
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

# Sets hub and speaker: by the options, else as before, else a speaker.
find_roles() {
    was_hub='' was_speaker=''
    wants=$root/etc/systemd/system/multi-user.target.wants
    [ ! -L "$wants/earmark-archive.service" ] || was_hub=yes
    [ ! -L "$wants/earmark-hear.service" ] || was_speaker=yes
    if [ -z "$hub$speaker" ]; then
        hub=$was_hub speaker=$was_speaker
        [ -n "$hub$speaker" ] || speaker=yes
        [ -z "$hub" ] || [ -z "$root" ] \
            || fail "the system in $root is a hub" "run install.sh there" 2
        if [ -z "$speaker" ] && [ -n "$named" ]; then
            fail "this computer is a hub, which has no microphone and no switch" \
                "pass --hub --speaker to make it both" 2
        fi
    elif [ -z "$speaker" ] && [ -n "$was_speaker" ]; then
        fail "this computer is a speaker already" \
            "pass --hub --speaker for both, or run sh install.sh --uninstall first" 2
    elif [ -z "$hub" ] && [ -n "$was_hub" ]; then
        fail "this computer is a hub already" \
            "pass --hub --speaker for both, or run sh install.sh --uninstall first" 2
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
    is_current=
    if [ -z "$deb" ]; then
        [ -f "$here/deb/__main__.py" ] \
            || fail "earmark_*_$architecture.deb not found" "build it with make deb and put it beside install.sh" 69
        if [ -n "$offline" ] && [ -z "$(find "$offline" -maxdepth 1 -name '*.whl' | head -n 1)" ]; then
            fail "$offline has neither earmark_*_$architecture.deb nor wheels" \
                "run make deb on a computer with a network, and copy dist/ there" 69
        fi
        source=$(source_digest)
        if is_installed && [ "$source" = "$(cat "$record/source" 2>/dev/null)" ]; then
            is_current=yes
            [ -x "$block" ] || block=$root/usr/lib/earmark/boot-block
            return 0
        fi
        build_package
    fi
    if [ ! -x "$block" ]; then
        block=$work/boot-block
        dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/lib/earmark/boot-block >"$block" \
            || fail "not an Earmark package: $deb" "build it with make deb" 69
        chmod +x "$block"
    fi
}

# One line for the files from which the package is built, and for the package that they gave.
source_digest() {
    (cd "$here/.." && find listener models firmware systemd docs ./*.toml ./*.py ./*.md LICENSE -type f \
        ! -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
    echo "$architecture"
    sha256sum <"$root/var/lib/dpkg/info/earmark.md5sums" 2>/dev/null || :
}

is_installed() {
    # shellcheck disable=SC2016 # the format is dpkg's
    [ "$how" = lay ] || [ "$(run_there dpkg-query --show --showformat '${db:Status-Abbrev}' earmark 2>/dev/null)" = 'ii ' ]
}

build_package() {
    note package "building from $([ -n "$offline" ] && echo "$offline" || echo 'downloaded wheels')"
    if [ -z "$offline" ] && [ "$how" = here ]; then
        apt_get install --no-install-recommends python3-pip device-tree-compiler
    fi
    (cd "$here/.." && python3 -m firmware.deb "$architecture" --into "$work" \
        ${offline:+--offline "$offline"}) >/dev/null || exit 69
    deb=$(find "$work" -maxdepth 1 -name 'earmark_*.deb')
    [ -n "$deb" ] || fail "the package could not be built" "run make deb" 69
}

# Sets missing: Debian packages that Earmark needs and that are not installed, and brought: files of
# --offline that may be them. Checked before dpkg, which would leave a package half-configured.
find_dependencies() {
    missing='' brought=''
    if [ "$how" = lay ] || { [ -n "$is_current" ] && [ -z "$hub" ]; }; then
        return 0
    fi
    {
        [ -z "$deb" ] || dpkg-deb --field "$deb" Depends | tr ',' '\n' | tr -d '()'
        [ -z "$hub" ] || echo mosquitto
    } >"$work/depends"
    while read -r name relation version; do
        # shellcheck disable=SC2016 # the format is dpkg's
        have=$(run_there dpkg-query --show --showformat '${db:Status-Abbrev}${Version}' "$name" 2>/dev/null || :)
        case $have in
            'ii '*)
                [ -z "$relation" ] || dpkg --compare-versions "${have#ii }" "$relation" "$version" \
                    || fail "$name ${have#ii } is installed, and Earmark needs $relation $version" \
                        "use Debian 12 or 13" 69
                ;;
            *) missing="$missing $name" ;;
        esac
    done <"$work/depends"
    missing=${missing# }
    if [ -n "$missing" ] && [ -n "$offline" ]; then
        brought=$(find "$offline" -maxdepth 1 -name '*.deb' ! -name 'earmark_*' | sort)
        [ -n "$brought" ] || fail "not installed, and not in $offline: $missing" \
            "run apt-get install $missing, or put the .deb files of these packages into $offline" 69
    fi
}

apt_get() {
    update_lists
    run_apt "$@" && return
    # A package of older lists may not be on the server any more.
    if [ -z "$is_updated" ]; then
        is_updated=yes
        run_apt update || :
        run_apt "$@" && return
    fi
    tail -n 5 "$work/apt" >&2
    fail "apt-get $1 failed" "check the network, and that the clock is right" 69
}

run_apt() {
    run_there env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes "$@" >"$work/apt" 2>&1
}

# apt-get update, unless the lists of packages are from today or yesterday.
update_lists() {
    lists=$root/var/lib/apt/lists
    if [ -n "$(find "$lists" -maxdepth 1 -name '*_Packages*' 2>/dev/null | head -n 1)" ] \
        && [ -n "$(find "$lists/partial" -maxdepth 0 -mtime -1 2>/dev/null)" ]; then
        is_updated=
        return 0
    fi
    is_updated=yes
    run_apt update || {
        tail -n 5 "$work/apt" >&2
        fail "apt-get update failed" "check the network, and that the clock is right" 69
    }
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
    # Options of an earlier run stay in force.
    if [ -z "$named_microphone$named_card" ]; then
        microphone=$(recorded microphone)
        card=$(recorded card)
    fi
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
    if [ -z "$switch" ]; then
        # A file for the first boot says it for a card that is not set up yet.
        switch=$(configured mute switch "$config")
        [ -n "$switch" ] || switch=$(configured mute switch "$boot/earmark.toml")
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
    if [ -n "$named_gpio" ] && [ "$switch" != input ]; then
        fail "--gpio $named_gpio has no effect without a switch" "pass --switch too" 2
    fi
    if [ -n "$named_gpio" ] && [ ! -e "$boot/config.txt" ]; then
        fail "--gpio $named_gpio has no effect: $(named "$boot")/config.txt does not exist" \
            "this is not a Raspberry Pi; or pass --boot DIR" 2
    fi
}

# An option that an earlier run was given, or nothing.
recorded() {
    sed -n "s/^$1=//p" "$record/options" 2>/dev/null || :
}

# configured SECTION KEY FILE: the text that a configuration file has for a key, or nothing.
configured() {
    awk -v section="[$1]" -v key="$2" '
        /^[ \t]*\[/ { gsub(/[ \t\r]/, ""); sub(/#.*/, ""); is_in = $0 == section; next }
        is_in && $0 ~ "^[ \t]*" key "[ \t]*=" {
            sub(/^[^=]*=[ \t]*"/, ""); sub(/".*/, ""); print; exit
        }' "$3" 2>/dev/null || :
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

# Writes the configuration to $work/config, and says in state what the present one is: ours (or none),
# or edited. An edited one gets only what an option of this run says.
plan_config() {
    fresh=$work/config
    if is_untouched || [ "$(digest "$config")" = "$(cat "$record/settings" 2>/dev/null)" ]; then
        state=ours
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
        return 0
    fi
    state=edited
    cp "$config" "$fresh"
    if [ -n "$named_switch" ] && [ "$(configured mute switch "$config")" != "$switch" ]; then
        set_key mute switch "$switch"
        [ "$switch" != input ] || set_key mute input /dev/input/earmark-mute
    fi
    if [ -n "$named_microphone$named_card" ]; then
        wanted=$device
        # No card is connected yet: any name but that of the other microphone.
        if [ -z "$wanted" ]; then
            wanted=$(configured microphone device "$config")
            [ "$wanted" != earmark_microphone ] || wanted=default
        fi
        [ -z "$wanted" ] || [ "$(configured microphone device "$config")" = "$wanted" ] \
            || set_key microphone device "$wanted"
    fi
    if command -v python3 >/dev/null \
        && ! python3 -c 'import sys, tomllib; tomllib.load(open(sys.argv[1], "rb"))' "$fresh" 2>/dev/null; then
        fail "the options cannot be written into $(named "$config")" \
            "write [mute] switch and [microphone] device there, each on a line of its own" 78
    fi
}

# set_key SECTION KEY TEXT: change or add a key in $fresh.
set_key() {
    if grep -qE "^[ \t]*($1[ \t]*[.=]|\[[ \t]*\"?$1\"?[ \t]*\..*\])" "$fresh"; then
        fail "$(named "$config") has $1 in another form than [$1], so an option cannot change it" \
            "set $1.$2 = \"$3\" there yourself" 78
    fi
    awk -v section="[$1]" -v key="$2" -v line="$2 = \"$3\"" '
        function put() { if (is_in && !is_done) { print line; is_done = 1 } }
        /^[ \t]*\[/ {
            put()
            name = $0; gsub(/[ \t\r]/, "", name); sub(/#.*/, "", name)
            is_in = name == section
        }
        is_in && $0 ~ "^[ \t]*" key "[ \t]*=" { if (!is_done) print line; is_done = 1; next }
        is_in && /^[ \t]*$/ { put() }
        { print }
        END {
            put()
            if (!is_done) { print ""; print section; print line }
        }' "$fresh" >"$fresh.new"
    mv "$fresh.new" "$fresh"
}

write_config() {
    if cmp -s "$fresh" "$config"; then
        if [ "$state" = edited ] && [ -n "$device" ] && ! grep -qF "\"$device\"" "$config"; then
            note config "$(named "$config") is kept; it does not name the microphone $device"
        fi
        return 0
    fi
    if [ "$state" = edited ]; then
        put "$config" "$config.before"
        did config "$(named "$config") is changed; the previous one is $(named "$config").before"
    else
        did config "$(named "$config")"
    fi
    put "$fresh" "$config"
}

# No file, or the unedited file of the package.
is_untouched() {
    [ ! -e "$config" ] || cmp -s "$config" "$root/usr/lib/earmark/earmark.toml"
}

# What a later run needs to know. Written after the package, whose removal removes it.
write_record() {
    if [ -n "$speaker" ] && [ "$state" = ours ]; then
        digest "$config" >"$work/settings"
        keep settings
    fi
    for name in microphone card; do
        eval "value=\$named_$name"
        [ -n "$named_microphone$named_card" ] || value=$(recorded $name)
        [ -z "$value" ] || echo "$name=$value"
    done >"$work/options"
    [ ! -s "$work/options" ] || keep options
    if [ -n "${source:-}" ] && [ -z "$is_current" ]; then
        source_digest >"$work/source"
        keep source
    fi
}

keep() {
    mkdir -p "$record"
    cmp -s "$work/$1" "$record/$1" || put "$work/$1" "$record/$1"
}

install_package() {
    if [ -n "$is_current" ]; then
        [ -z "$missing" ] || install_missing
        return 0
    fi
    case $how in
        here | inside)
            if is_same "$deb"; then
                [ -z "$missing" ] || install_missing
                return 0
            fi
            install_deb
            did package "$(basename "$deb")"
            ;;
        lay) lay_package ;;
    esac
}

# The package, with what it needs of Debian.
install_deb() {
    cache=$root/var/cache/earmark
    rm -rf "$cache"
    mkdir -p "$cache"
    # In a folder that the _apt user can read, and that a chroot has.
    cp "$deb" "$cache/earmark.deb"
    set -- /var/cache/earmark/earmark.deb
    for file in $brought; do
        cp "$file" "$cache/"
        set -- "$@" "/var/cache/earmark/${file##*/}"
    done
    if [ -z "$missing" ] && [ -n "$offline$root" ]; then
        run_there dpkg --install "$1" || {
            rm -rf "$cache"
            fail "dpkg failed to install the package" "run dpkg --configure -a, then this again" 69
        }
    elif [ -n "$offline" ]; then
        run_apt install --no-download --no-install-recommends \
            -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null "$@" || {
            tail -n 15 "$work/apt" >&2
            rm -rf "$cache"
            fail "the .deb files in $offline are not all that is missing: $missing" \
                "put the files that apt-get names above into $offline too" 69
        }
    else
        # shellcheck disable=SC2086 # a list of names
        apt_get install --no-install-recommends --reinstall --allow-downgrades "$@" $missing
    fi
    rm -rf "$cache"
}

install_missing() {
    if [ -n "$offline" ]; then
        # shellcheck disable=SC2086 # a list of files
        run_there dpkg --install $brought || fail "dpkg failed to install $missing" "" 69
    else
        # shellcheck disable=SC2086 # a list of names
        apt_get install --no-install-recommends $missing
    fi
    did package "$missing"
}

# The services of this computer's roles.
write_roles() {
    roles="${speaker:+speaker }${hub:+hub}"
    before=$(digest "$preset")
    if [ "$how" = lay ]; then
        # The program of the package, with the paths of the other root.
        EARMARK_ROOT=$root /bin/sh "$root/usr/lib/earmark/set-role" speaker
    else
        # shellcheck disable=SC2086 # a list of words
        run_there /usr/lib/earmark/set-role $roles
    fi
    [ "$before" = "$(digest "$preset")" ] || did units "services of: $roles"
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
    is_installed
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
    set_gains
}

# The gains of the two-microphone HAT. Its versions have one card name and two codecs: version 1 a
# WM8960, version 2 a TLV320AIC3104, whose controls have other names. The capture device names the
# codec.
set_gains() {
    mixer=$root/usr/share/earmark/alsa/respeaker-2mic.mixer
    [ "$microphone" = respeaker ] || return 0
    if ! grep -qs 'wm8960-hifi' "$cards/$card"/pcm*c/info; then
        note card "$card has no WM8960, for which the mixer file is; set its gains: alsamixer -c $card"
        return 0
    fi
    if [ "$how" = here ] && [ -e "$mixer" ] && command -v amixer >/dev/null; then
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
        is_overlay_new=yes
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
    # Without lines for them, the overlays only lie there.
    [ $# -eq 0 ] || [ -z "${is_overlay_new:-}" ] || needs_reboot=yes
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
    needs_limits=yes
}

enable_units() {
    [ "$how" = lay ] || return 0
    if [ ! -e "$record/folders" ]; then
        find "$root" -mindepth 1 -type d | sort >"$work/after"
        comm -13 "$work/before" "$work/after" | sed "s|^$root/||" >"$work/folders"
        put "$work/folders" "$record/folders"
    fi
}

# Certificates, the broker's configuration, and the archive. mosquitto is installed before: its user
# has to be able to read the files.
set_up_hub() {
    hub_toml=/etc/earmark/archive.toml
    link=/etc/mosquitto/conf.d/earmark.conf
    # shellcheck disable=SC2086 # a list of words
    earmark household init --system $hosts >"$work/init" || exit $?
    if ! grep -qx 'nothing to change' "$work/init"; then
        did hub "$(grep '^created' "$work/init" || echo "$hub_toml")"
        is_broker_new=yes
    fi
    sed -n '/^add this to/,$p' "$work/init"
    if [ "$(readlink "$link" 2>/dev/null)" != /etc/mosquitto/earmark/earmark.conf ]; then
        ln -sfn /etc/mosquitto/earmark/earmark.conf "$link"
        did broker "$link"
        is_broker_new=yes
    fi
    [ -d /run/systemd/system ] || return 0
    if [ -n "${is_broker_new:-}" ]; then
        systemctl restart mosquitto || fail "mosquitto does not start" "see journalctl -u mosquitto" 69
    fi
    if [ -n "${is_broker_new:-}" ] || ! systemctl --quiet is-active earmark-archive; then
        systemctl restart earmark-archive \
            || fail "the archive does not start" "see journalctl -u earmark-archive" 69
    fi
}

# The speaker of this board joins the household of this board.
add_speaker() {
    if [ "$(configured device name "$config")" = "$speaker_name" ] && [ -e /etc/earmark/tls/me.crt ] \
        && [ "$(configured attribution keeper "$config")" = "$keeper" ]; then
        return 0
    fi
    earmark household add-device "$speaker_name" --here ${keeper:+--keeper "$keeper"} \
        ${keeper_key:+--keeper-key "$keeper_key"} || exit $?
    did speaker "$speaker_name has joined the household"
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
    [ -z "$hub" ] || earmark household status || :
    if [ -z "$speaker" ]; then
        note doctor "the findings below are the remaining steps"
        earmark doctor || :
        return 0
    fi
    if [ -n "$is_changed" ] && [ -z "$needs_reboot" ] && [ -d /run/systemd/system ]; then
        # hear waits for what is configured later, such as the keeper; a start that fails is no fault.
        systemctl --no-block restart earmark-hear earmark-send || :
        # Without a loudspeaker the start would wait for one.
        [ ! -e /dev/snd/earmark-playback-control ] || systemctl --no-block restart earmark-play || :
    fi
    [ -n "$switch" ] || note next "set mute.switch in $config"
    if [ -n "$needs_reboot" ]; then
        note next "reboot; microphone and switch are not available before"
    elif [ -n "$needs_limits" ]; then
        note next "reboot when it suits you; until then the services have no limits of memory"
    fi
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
            rm -f "$preset"
            rmdir "$root/usr/lib/earmark" "${preset%/*}" 2>/dev/null || :
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
    EARMARK_ROOT=$root /bin/sh "$root/usr/lib/earmark/set-role" 2>/dev/null || :
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
