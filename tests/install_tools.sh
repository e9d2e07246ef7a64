# Installs what the tests need beside Python, where that can be done; else says what is missing.
set -eu

missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need cc gcc
need nm binutils
need cmake cmake
need arm-none-eabi-gcc gcc-arm-none-eabi
need pkg-config pkg-config
need qemu-aarch64 qemu-user
need qemu-riscv64 qemu-user
need qemu-arm qemu-user
need qemu-riscv32 qemu-user
need qemu-system-arm qemu-system-arm
PATH="$PATH:/usr/sbin" need sshd openssh-server
need ssh openssh-client
need adb adb
need node nodejs
need valgrind valgrind
# The compiler's package only recommends the C library's.
case "$(aarch64-linux-gnu-gcc -print-file-name=libc.a 2>/dev/null)" in
    /*) ;;
    *) missing="$missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
esac
command -v google-chrome >/dev/null 2>&1 || need chromium chromium
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$missing"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
else
    echo "the tests need these Debian packages (or the programs in them):$missing"
    echo "  sudo apt-get install$missing"
    exit 2
fi
