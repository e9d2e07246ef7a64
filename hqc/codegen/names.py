"""The name of a library: prefix of its files and symbols and, in capitals, of its macros.

A name is a C identifier in lower case, since two names that differ in case alone have the same
macros. It must give no file, type, function or macro that C, the compiler's own headers and
libraries, `hqc.h` or another model has.
"""

from __future__ import annotations

import re
import unicodedata

from hqc.errors import UserError

_LONGEST = 60

_OURS = re.compile(r"hqc(_.*)?|.*_(kernels|runner|step|stream|trace|weights)")
"""`hqc.h` and its macros; names whose files or macros are also those of the name before the end."""

_KEYWORDS = """
alignas alignof and and_eq asm atomic auto bitand bitor bool break case catch char class compl
complex concept const const_cast consteval constexpr constinit continue decltype default delete do
double dynamic_cast else enum explicit export extern false float for friend fortran generic goto if
imaginary import inline int long main module mutable namespace new noexcept noreturn not not_eq null
nullptr operator or or_eq override private protected public register reinterpret_cast requires
restrict return short signed sizeof static static_assert static_cast struct switch template this
thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using
virtual void volatile wchar while xor xor_eq
"""

_TYPES = """
aio blkcnt blksize byte caddr char16 char32 char8 clock clockid cnd cookie_io_functions daddr div
dev errno error fenv fexcept fpos fsblkcnt fsfilcnt fsid gid id idtype imaxdiv ino key ldiv lldiv
locale loff max_align mbstate mode mqd mtx nl_catd nlink off once pid posix_spawnattr ptrdiff quad
regex regmatch regoff rlim rsize rune sa_family sem sig_atomic siginfo sigset size socklen speed
ssize stack suseconds tcflag thrd time timer trace_attr trans tss ucontext uid useconds va_list vfs
wctrans wctype wint
"""
"""X where X_t is a type of C, POSIX or a common libc, or X_init a function of theirs."""

_HEADERS = """
aliases assert ctype dirent dlfcn elf endian err execinfo fcntl features fmtmsg fnmatch ftw getopt
glob grp iconv inttypes iso646 langinfo libgen limits link malloc math memory monetary mqueue netdb
poll pthread pwd resolv sched search semaphore setjmp signal spawn stdalign stdarg stdbit stdbool
stdckdint stddef stdint stdio stdlib stdnoreturn string strings syslog tar termios tgmath threads
types uchar unistd utime utmp values wait wordexp
"""

_LIBRARIES = "c crypt dl g gcc gcc_eh gcc_s gloss m nosys rt ssp unwind util"

_INTEGERS = re.compile(r"(u?int(_fast|_least)?|u_int)(8|16|32|64|128)|u?int(max|ptr)|pthread_.*")

_TAKEN = frozenset(" ".join((_KEYWORDS, _TYPES, _HEADERS, _LIBRARIES)).split())


_FORM = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def _is_free(name: str) -> bool:
    return not (name in _TAKEN or _INTEGERS.fullmatch(name) or _OURS.fullmatch(name))


def c_name(text: str) -> str:
    """A name made from any text: `My-Net.v2` gives `my_net_v2`, `4bit` `m_4bit`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[\W_]+", "_", plain).strip("_")[: _LONGEST - 6].strip("_") or "model"
    made = (name, f"{name}_net", f"m_{name}", f"m_{name}_net")
    return next(n for n in made if _FORM.fullmatch(n) and _is_free(n))


def check_name(name: str) -> None:
    """Raise `UserError` for a name that a library cannot have, with one that it can."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        why = "is not a C identifier"
    elif len(name) > _LONGEST:
        why = f"is longer than {_LONGEST} characters"
    elif not _FORM.fullmatch(name):
        why = "is not in lower case with single underscores inside (macros get its capitals)"
    elif not _is_free(name):
        why = "would give files, types or macros that C, the system or hqc.h has"
    else:
        return
    raise UserError(f"--name {name!r} {why}", hint=f"say e.g. --name {c_name(name)}")
