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
    const char *strings;
    uint64_t string_size;
    const Elf64_Dyn *dynamic;
    uint64_t dynamic_count;
} elf_file;

static int inside(const elf_file *e, uint64_t offset, uint64_t size) {
    return offset <= e->size && size <= e->size - offset;
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
                h->e_ident[EI_CLASS] == ELFCLASS64,
            "not a 64-bit ELF file");
    REQUIRE(c, h->e_type == ET_DYN, "not a shared library");
    REQUIRE(c,
            h->e_shentsize == sizeof(Elf64_Shdr) &&
                inside(e, h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr)),
            "the section table lies outside the file");
    const Elf64_Shdr *sections = (const void *)(e->bytes + h->e_shoff);
    for (int i = 0; i < h->e_shnum; i++) {
        const Elf64_Shdr *s = &sections[i];
        if (s->sh_type != SHT_DYNSYM && s->sh_type != SHT_DYNAMIC) continue;
        REQUIRE(c, inside(e, s->sh_offset, s->sh_size) && s->sh_link < h->e_shnum,
                "a section lies outside the file");
        const Elf64_Shdr *strings = &sections[s->sh_link];
        REQUIRE(c, inside(e, strings->sh_offset, strings->sh_size) && strings->sh_size,
                "a section lies outside the file");
        e->strings = (const char *)e->bytes + strings->sh_offset;
        e->string_size = strings->sh_size;
        if (s->sh_type == SHT_DYNSYM) {
            e->symbols = (const void *)(e->bytes + s->sh_offset);
            e->symbol_count = s->sh_size / sizeof *e->symbols;
        } else {
            e->dynamic = (const void *)(e->bytes + s->sh_offset);
            e->dynamic_count = s->sh_size / sizeof *e->dynamic;
        }
    }
    REQUIRE(c, e->symbols && e->dynamic, "no dynamic symbols: not a shared library");
    return CONFORM_PASS;
}

static const char *text_at(const elf_file *e, uint64_t offset) {
    if (offset >= e->string_size || !memchr(e->strings + offset, 0, e->string_size - offset)) return "?";
    return e->strings + offset;
}

static conform_result exports(conform *c) {
    elf_file e = {0};
    int found = 0;
    conform_result r = open_elf(c, &e);
    if (r) return r;
    for (uint64_t i = 0; i < e.symbol_count; i++) {
        const Elf64_Sym *s = &e.symbols[i];
        int bind = ELF64_ST_BIND(s->st_info);
        if (s->st_shndx == SHN_UNDEF || s->st_shndx == SHN_ABS || (bind != STB_GLOBAL && bind != STB_WEAK))
            continue;
        const char *name = text_at(&e, s->st_name);
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

static conform_result needed(conform *c) {
    static const char *const refused[] = {"libcuda.so", "libcudart", "libcudnn", "libcublas",
                                          "libpython",  "libtorch",  "libdnnl"};
    elf_file e = {0};
    conform_result r = open_elf(c, &e);
    if (r) return r;
    for (uint64_t i = 0; i < e.dynamic_count && e.dynamic[i].d_tag != DT_NULL; i++) {
        if (e.dynamic[i].d_tag != DT_NEEDED) continue;
        const char *name = text_at(&e, e.dynamic[i].d_un.d_val);
        for (size_t k = 0; k < sizeof refused / sizeof *refused; k++)
            if (strncmp(name, refused[k], strlen(refused[k])) == 0)
                return conform_fail(
                    c,
                    "needs %s: it would not load on a machine without it, or meet another version of it in "
                    "the host's process; link it statically and hidden, or open it when it is asked for",
                    name);
    }
    return CONFORM_PASS;
}

static conform_result flags(conform *c) {
    elf_file e = {0};
    int now = 0, nodelete = 0;
    conform_result r = open_elf(c, &e);
    if (r) return r;
    for (uint64_t i = 0; i < e.dynamic_count && e.dynamic[i].d_tag != DT_NULL; i++) {
        uint64_t value = e.dynamic[i].d_un.d_val;
        if (e.dynamic[i].d_tag == DT_FLAGS_1) {
            now |= (value & DF_1_NOW) != 0;
            nodelete |= (value & DF_1_NODELETE) != 0;
        }
        if (e.dynamic[i].d_tag == DT_FLAGS) now |= (value & DF_BIND_NOW) != 0;
        REQUIRE(c, e.dynamic[i].d_tag != DT_TEXTREL, "has text relocations: compile with -fPIC");
    }
    REQUIRE(c, now,
            "is bound lazily: a missing symbol would show in the middle of training (link with -z now)");
    REQUIRE(c, nodelete, "can be unloaded while a thread of its runtime still runs (link with -z nodelete)");
    return CONFORM_PASS;
}

const conform_check conform_static[] = {
    {"exports", "static", "the entry is the only exported symbol (The entry)", exports},
    {"needed", "static", "no device or framework library is needed to load it (get_info: no device contexts)",
     needed},
    {"flags", "static", "bound at loading, never unloaded, position independent (abi/README.md, rule 1)",
     flags},
};
const int conform_static_count = sizeof conform_static / sizeof *conform_static;
