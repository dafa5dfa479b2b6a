"""Domain -> the Debian packages its text comes from, with the extractor and the files of each.

A row is (package, extractor name of `extract.py`, globs below the package's root). Every package is
in Debian's `main`, so all of it may be redistributed; `fetch_corpus.py` records version and licence.
"""

HTML, DOCBOOK, MAN, INFO = "html", "docbook", "man", "info"
WESNOTH = ["did", "dm", "dw", "ei", "httt", "l", "low", "nr", "sof", "sota", "sotbe", "thot",
           "trow", "tsg", "ttb", "utbs"]
TRYTON = ["account"] + [f"account-{m}" for m in (
    "asset", "payment", "invoice", "statement", "dunning", "credit-limit", "product")]

SOURCES = {
    "healthcare": [
        ("gnumed-doc", HTML, ["usr/share/doc/gnumed/user-manual/Gnumed/*.html"]),
        ("orthanc-doc", HTML, ["usr/share/doc/orthanc/**/*.html"]),
        ("python-pydicom-doc", HTML, ["usr/share/doc/**/*.html"]),
        ("python-nibabel-doc", HTML, ["usr/share/doc/**/*.html"]),
        ("python-nipype-doc", HTML, ["usr/share/doc/**/*.html"]),
        ("python-dipy-doc", HTML, ["usr/share/doc/**/*.html"]),
        ("plastimatch", MAN, ["usr/share/man/man*/*"]),
        ("dcmtk-doc", HTML, ["usr/share/doc/**/mod_*.html", "usr/share/doc/**/file_*.html",
                             "usr/share/doc/**/*txt*.html", "usr/share/doc/**/dcm*.html",
                             "usr/share/doc/**/group__*.html"]),
        ("descriptions of Debian Med", "debian_med", []),
    ],
    "law": [
        ("debian-policy", HTML, ["usr/share/doc/debian-policy/policy.html/*.html"]),
        ("base-files", "text", ["usr/share/common-licenses/*"]),
        ("libsoftware-license-perl", "perl_licence", ["usr/share/perl5/Software/License/*.pm"]),
        ("ruby-licensee", "text", ["usr/share/**/_licenses/*.txt"]),
        ("ruby-licensee", DOCBOOK, ["usr/share/**/license-list-XML/src/*.xml"]),
        ("ruby-license-finder", "text", ["usr/share/**/templates/*.txt"]),
        ("cfi-en", HTML, ["usr/share/doc/**/*.htm"]),
        ("doc-debian", "text", ["usr/share/doc/debian/*.txt*", "usr/share/doc/debian/social*",
                                "usr/share/doc/debian/constitution*", "usr/share/doc/debian/debian-manifesto*"]),
        ("copyright files", "copyright", ["usr/share/doc/*/copyright"]),
    ],
    "finance": [
        ("gnucash-docs", DOCBOOK, ["usr/share/help/C/**/*.docbook", "usr/share/help/C/**/*.xml"]),
        ("gnucash-common", DOCBOOK, ["usr/share/gnucash/accounts/C/*"]),
        ("eqonomize-doc", HTML, ["usr/share/doc/**/C/*.html"]),
        ("homebank-data", HTML, ["usr/share/doc/**/help/*.html"]),
        ("grisbi-common", HTML, ["usr/share/doc/**/*.html"]),
        ("kmymoney-common", DOCBOOK, ["usr/share/doc/**/en/**/*.docbook"]),
        ("skrooge-common", DOCBOOK, ["usr/share/doc/HTML/en/**/*.docbook"]),
        ("ledger", INFO, ["usr/share/info/ledger3.info.gz"]),
        ("hledger", INFO, ["usr/share/doc/hledger/*.info.gz", "usr/share/info/*.info.gz"]),
        ("python3-beancount", "docstrings", ["usr/lib/python3/dist-packages/beancount/**/*.py"]),
        ("gretl-data", "gretl_data", ["usr/share/gretl/data/**/*.gdt"]),
        ("gretl-doc", "latex", ["usr/share/doc/gretl/doc/tex/*.tex"]),
        ("quantlib-refman-html", "html_prose", ["usr/share/doc/**/class_*.html", "usr/share/doc/**/group__*.html"]),
        ("ledgersmb", "pod", ["usr/share/**/*.pm"]),
    ] + [(f"tryton-modules-{m}", HTML, ["usr/share/doc/**/html/**/*.html"]) for m in TRYTON],
    "stem": [
        ("octave-doc", HTML, ["usr/share/doc/octave/octave.html/*.html"]),
        ("maxima-doc", HTML, ["usr/share/doc/maxima-doc/html/maxima_*.html"]),
        ("r-doc-html", HTML, ["usr/share/doc/**/*.html", "usr/share/R/**/*.html"]),
    ],
    "commonsense": [("wordnet-base", "wordnet", ["usr/share/wordnet/data.*"])],
    "conversation": [
        ("fortunes", "fortunes", ["usr/share/games/fortunes/*"]),
        ("fortunes-min", "fortunes", ["usr/share/games/fortunes/*"]),
        ("fortune-anarchism", "fortunes", ["usr/share/games/fortunes/*"]),
        ("fortunes-debian-hints", "fortunes", ["usr/share/games/fortunes/debian-hints"]),
        ("endless-sky-data", "endless_sky", ["usr/share/games/endless-sky/data/**/*.txt"]),
    ] + [(f"wesnoth-1.16-{c}", "wesnoth", ["usr/share/games/wesnoth/**/*.cfg"]) for c in WESNOTH],
    "multilingual": [
        ("manpages-fr", MAN, ["usr/share/man/fr/man[1578]/*"]),
        ("manpages-de", MAN, ["usr/share/man/de/man[1578]/*"]),
        ("manpages-es", MAN, ["usr/share/man/es/man[1578]/*"]),
        ("manpages-ja", MAN, ["usr/share/man/ja/man[1578]/*"]),
        ("fortunes-de", "fortunes", ["usr/share/games/fortunes/de/*"]),
    ],
    "domain-adaptive": [
        ("postgresql-doc-15", HTML, ["usr/share/doc/**/html/*.html"]),
        ("debian-handbook", HTML, ["usr/share/doc/debian-handbook/html/en-US/*.html"]),
        ("debian-reference-en", HTML, ["usr/share/**/*.en.html"]),
    ],
}

# Fetched for their copyright files alone: the programs with the longest lists of licences.
COPYRIGHT_ONLY = ["libreoffice-common", "r-base-core", "octave-common", "fonts-noto-core",
                  "texlive-base", "debian-installer-12-netboot-amd64", "libboost1.74-dev",
                  "openjdk-17-jre-headless", "python3.11-minimal", "perl-base", "libqt5core5a", "gcc-12-base",
                  "thunderbird", "firefox-esr", "chromium-common", "texlive-latex-base", "blender-data",
                  "inkscape", "linux-libc-dev", "qemu-system-common", "libjs-mathjax", "vim-common",
                  "libgtk-3-common", "mariadb-common", "gimp-data", "libicu72", "freeplane", "php8.2-common",
                  "kodi-data", "scribus-data", "libvtk9.1", "paraview", "godot3", "0ad-data-common",
                  "supertuxkart-data", "freedoom", "kicad-libraries", "llvm-14",
                  "libwebkit2gtk-4.0-37", "libopencv-core406", "ghostscript", "libgnutls30", "grub-common",
                  "samba-common", "mame-data", "dosbox", "calibre", "darktable", "audacity-data"]
# One licence a file: split by family (`families.py`), as what copyright files hold.
LICENCES = ["base-files", "libsoftware-license-perl", "ruby-licensee", "ruby-license-finder"]
DOMAINS = list(SOURCES)
