/* A host in its smallest form: opens the installed plugin and prints its name. C99, nothing but the installed header. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <dukd_plugin.h>

int main(void) {
    dukd_get_plugin_draft_fn entry;
    void *library = dlopen(PLUGIN_FILE, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, DUKD_ENTRY_NAME) : NULL;
    if (!symbol) {
        fprintf(stderr, "%s: %s\n", PLUGIN_FILE, dlerror());
        return 1;
    }
    memcpy(&entry, &symbol, sizeof symbol);
    const dukd_plugin *plugin = entry(DUKD_ABI_DRAFT);
    if (plugin->abi_draft != DUKD_ABI_DRAFT) return 1;
    printf("%s %s\n", plugin->get_info()->name, plugin->get_info()->version);
    return 0;
}
