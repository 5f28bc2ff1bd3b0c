/* The module with the real CUDA runtime inside, on a machine that has no GPU: a clean error of our own, and nothing lost on the
 * CPU. A skip where there is a GPU. test_no_gpu libdukd.so */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "dukd_plugin.h"

static int32_t tap_shape(void *ctx, const dukd_tap *tap, const int64_t in[4], int64_t out[4],
                         dukd_error *why) {
    (void)ctx;
    (void)tap;
    (void)why;
    for (int i = 0; i < 4; i++) out[i] = in[i] * (i < 2 ? 1 : 2);
    return 0;
}

static int failures;

static void expect(int holds, const char *what, const char *found) {
    printf("%s: %s (%s)\n", holds ? "ok" : "FAILED", what, found);
    failures += !holds;
}

int main(int argc, char **argv) {
    dukd_get_plugin_draft_fn entry = NULL;
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library != NULL ? dlsym(library, DUKD_ENTRY_NAME) : NULL;
    memcpy(&entry, &symbol, sizeof entry);
    if (entry == NULL) {
        fprintf(stderr, "usage: test_no_gpu libdukd.so\n");
        return 2;
    }
    const dukd_plugin *p = entry(DUKD_ABI_DRAFT);
    dukd_backend_info info = {.struct_size = DUKD_BACKEND_INFO_SIZE};
    dukd_error error = {.struct_size = DUKD_ERROR_SIZE};
    dukd_session *session = NULL;
    expect(p->query_backend(1, &info, &error) == DUKD_OK, "query_backend answers", info.detail);
    if (info.usable) {
        printf("SKIP: there is a GPU here: %s\n", info.detail);
        return 77;
    }
    expect(strstr(info.detail, "not built") == NULL, "the module was opened", info.detail);
    expect(strstr(info.detail, "driver") != NULL || strstr(info.detail, "device") != NULL,
           "it names what is missing", info.detail);

    const char *const networks[] = {"student", "teacher"}, *const cuda[] = {"cuda"};
    const dukd_option backend = {.struct_size = DUKD_OPTION_SIZE,
                                 .kind = DUKD_VALUE_SCALAR,
                                 .key = "backend",
                                 .values = cuda,
                                 .n_values = 1};
    const dukd_option *const options[] = {&backend};
    const dukd_host host = {
        .struct_size = DUKD_HOST_SIZE, .n_networks = 2, .networks = networks, .tap_shape = tap_shape};
    dukd_session_params params = {.struct_size = DUKD_SESSION_PARAMS_SIZE,
                                  .host = &host,
                                  .micro_count = 1,
                                  .lr_shape = {2, 3, 8, 8},
                                  .scale = 2,
                                  .dtype = {DUKD_TYPE_FLOAT, 32, 1},
                                  .device = {DUKD_DEVICE_CUDA, 0}};
    expect(p->create_session(&params, &session, &error) == DUKD_E_UNSUPPORTED && session == NULL &&
               strstr(error.message, info.detail) != NULL,
           "a session on a CUDA device is refused with the same reason", error.message);
    params.device.device_type = DUKD_DEVICE_CPU;
    params.options = options;
    params.n_options = 1;
    expect(p->create_session(&params, &session, &error) == DUKD_E_UNSUPPORTED &&
               strstr(error.message, info.detail) != NULL,
           "backend: cuda is refused with it, too", error.message);
    params.n_options = 0;
    expect(p->create_session(&params, &session, &error) == DUKD_OK, "a session on the CPU is made", "");
    p->destroy_session(session);
    return failures != 0;
}
