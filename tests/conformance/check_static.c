/* Group static: what the file itself shows, before it is loaded. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conform.h"

typedef struct {
    const uint8_t *bytes;
    uint64_t size;
    const Elf64_Sym *symbols;
    uint64_t symbol_count;
    const char *symbol_names, *dynamic_names;
    uint64_t symbol_names_size, dynamic_names_size;
    const Elf64_Dyn *dynamic;
    uint64_t dynamic_count;
} elf_file;

static int inside(const elf_file *e, uint64_t offset, uint64_t size) {
    return offset <= e->size && size <= e->size - offset;
}

/* A table inside the file, at an offset that its entries can be read from. */
static int whole_table(const elf_file *e, uint64_t offset, uint64_t size) {
    return inside(e, offset, size) && offset % 8 == 0;
}

static conform_result open_elf(conform *c, elf_file *e) {
    struct stat st;
    int fd = open(c->path, O_RDONLY | O_CLOEXEC);
    REQUIRE(c, fd >= 0 && fstat(fd, &st) == 0, "%s cannot be read", c->path);
    e->size = (uint64_t)st.st_size;
    e->bytes = mmap(NULL, e->size ? e->size : 1, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    REQUIRE(c, e->bytes != MAP_FAILED, "%s cannot be read", c->path);
    const Elf64_Ehdr *h = (const void *)e->bytes;
    REQUIRE(c,
            e->size >= sizeof *h && memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 &&
                h->e_ident[EI_CLASS] == ELFCLASS64 && h->e_ident[EI_DATA] == ELFDATA2LSB,
            "not a 64-bit little-endian ELF file");
    REQUIRE(c, h->e_type == ET_DYN, "not a shared library");
    if (!h->e_shnum) return conform_skip(c, "the file has no section table to read");
    REQUIRE(c,
            h->e_shentsize == sizeof(Elf64_Shdr) &&
                whole_table(e, h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr)),
            "the section table lies outside the file");
    const Elf64_Shdr *sections = (const void *)(e->bytes + h->e_shoff);
    for (int i = 0; i < h->e_shnum; i++) {
        const Elf64_Shdr *s = &sections[i];
        if (s->sh_type != SHT_DYNSYM && s->sh_type != SHT_DYNAMIC) continue;
        REQUIRE(c, whole_table(e, s->sh_offset, s->sh_size) && s->sh_link < h->e_shnum,
                "a section lies outside the file");
        const Elf64_Shdr *strings = &sections[s->sh_link];
        REQUIRE(c, inside(e, strings->sh_offset, strings->sh_size) && strings->sh_size,
                "a section lies outside the file");
        const char *names = (const char *)e->bytes + strings->sh_offset;
        if (s->sh_type == SHT_DYNSYM) {
            e->symbols = (const void *)(e->bytes + s->sh_offset);
            e->symbol_count = s->sh_size / sizeof *e->symbols;
            e->symbol_names = names;
            e->symbol_names_size = strings->sh_size;
        } else {
            e->dynamic = (const void *)(e->bytes + s->sh_offset);
            e->dynamic_count = s->sh_size / sizeof *e->dynamic;
            e->dynamic_names = names;
            e->dynamic_names_size = strings->sh_size;
        }
    }
    REQUIRE(c, e->symbols && e->dynamic, "no dynamic symbols: not a shared library");
    return CONFORM_PASS;
}

static const char *text_at(const char *names, uint64_t size, uint64_t offset) {
    if (offset >= size || !memchr(names + offset, 0, size - offset)) return "?";
    return names + offset;
}

static conform_result exports(conform *c) {
    elf_file e = {0};
    int found = 0;
    TRY(open_elf(c, &e));
    for (uint64_t i = 0; i < e.symbol_count; i++) {
        const Elf64_Sym *s = &e.symbols[i];
        int bind = ELF64_ST_BIND(s->st_info);
        if (s->st_shndx == SHN_UNDEF || s->st_shndx == SHN_ABS ||
            (bind != STB_GLOBAL && bind != STB_WEAK && bind != STB_GNU_UNIQUE))
            continue;
        const char *name = text_at(e.symbol_names, e.symbol_names_size, s->st_name);
        if (strcmp(name, DUKD_ENTRY_NAME) == 0)
            found = 1;
        else
            return conform_fail(
                c, "exports %s: only %s may be visible (-fvisibility=hidden and a version script)", name,
                DUKD_ENTRY_NAME);
    }
    REQUIRE(c, found, "does not export %s", DUKD_ENTRY_NAME);
    return CONFORM_PASS;
}

/* The C library and what compilers and their sanitizers bring along. All else can be missing on a user's machine, or be there
 * in the host's process in another version. */
static int comes_with_the_system(const char *name) {
    static const char *const stems[] = {
        "libc.so",      "libm.so",      "libmvec.so", "libdl.so",     "libpthread.so", "librt.so",
        "ld-linux",     "libc.musl-",   "libgcc_s",   "libstdc++.so", "libc++.so",     "libc++abi.so",
        "libunwind.so", "libatomic.so", "libgomp.so", "libomp.so",    "libiomp5.so",   "libasan.so",
        "libubsan.so",  "libtsan.so",   "liblsan.so", "libclang_rt."};
    for (size_t k = 0; k < sizeof stems / sizeof *stems; k++)
        if (strncmp(name, stems[k], strlen(stems[k])) == 0) return 1;
    return 0;
}

static conform_result needed(conform *c) {
    elf_file e = {0};
    TRY(open_elf(c, &e));
    for (uint64_t i = 0; i < e.dynamic_count && e.dynamic[i].d_tag != DT_NULL; i++) {
        if (e.dynamic[i].d_tag != DT_NEEDED) continue;
        const char *name = text_at(e.dynamic_names, e.dynamic_names_size, e.dynamic[i].d_un.d_val);
        REQUIRE(c, comes_with_the_system(name),
                "needs %s: it would not load on a machine without it, or meet another version of it in the "
                "host's process; link it statically and hidden, or open it when it is asked for",
                name);
    }
    return CONFORM_PASS;
}

static conform_result flags(conform *c) {
    elf_file e = {0};
    int now = 0, nodelete = 0, text = 0;
    TRY(open_elf(c, &e));
    for (uint64_t i = 0; i < e.dynamic_count && e.dynamic[i].d_tag != DT_NULL; i++) {
        uint64_t value = e.dynamic[i].d_un.d_val;
        switch (e.dynamic[i].d_tag) {
        case DT_FLAGS_1:
            now |= (value & DF_1_NOW) != 0;
            nodelete |= (value & DF_1_NODELETE) != 0;
            break;
        case DT_FLAGS:
            now |= (value & DF_BIND_NOW) != 0;
            text |= (value & DF_TEXTREL) != 0;
            break;
        case DT_BIND_NOW:
            now = 1;
            break;
        case DT_TEXTREL:
            text = 1;
            break;
        default:
            break;
        }
    }
    REQUIRE(c, !text, "has text relocations: compile with -fPIC");
    REQUIRE(c, now,
            "is bound lazily: a missing symbol would show in the middle of training (link with -z now)");
    REQUIRE(c, nodelete, "can be unloaded while a thread of its runtime still runs (link with -z nodelete)");
    return CONFORM_PASS;
}

static const conform_check checks[] = {
    {"exports", "the entry is the only exported symbol (the entry)", exports},
    {"needed", "needs only libraries of the system; its own it brings along (abi/README.md, rule 10)",
     needed},
    {"flags", "bound at loading, never unloaded, position independent (abi/README.md, rule 1)", flags},
};
const conform_group conform_static = {"static", "what the file itself shows", 1, checks,
                                      sizeof checks / sizeof *checks};
