/* Checks of what a host hands to create_session; its log and its wish to give up. */
#include "report.h"
#include "session.h"
#include "struct_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KNOWN_SESSION_FLAGS DUKD_SESSION_LOSS_SCALE

bool dukd_status_spoils(int32_t status) {
    return status < 0 && status != DUKD_E_ARGUMENT && status != DUKD_E_OPTION &&
           status != DUKD_E_UNSUPPORTED && status != DUKD_E_STATE;
}

int32_t dukd_session_enter(const dukd_session *s, dukd_error *error) {
    if (s == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "session is NULL");
    if (s->owner == getpid()) return DUKD_OK;
    return dukd_report(
        error, DUKD_E_STATE,
        "this session was made in process %ld and inherited by fork: destroy it and make one in this process",
        (long)s->owner);
}

int32_t dukd_session_enter_idle(const dukd_session *s, const char *what, dukd_error *error) {
    const int32_t status = dukd_session_enter(s, error);
    if (status != DUKD_OK) return status;
    if (s->phase != DUKD_PHASE_IDLE) {
        return dukd_report(error, DUKD_E_STATE, "%s comes between steps: call end_step or cancel_step first",
                           what);
    }
    if (s->next_micro != 0 && !s->may_restart) {
        return dukd_report(error, DUKD_E_STATE, "%s comes between steps: %u of %u micro-batches are done",
                           what, s->next_micro, s->micro_count);
    }
    return DUKD_OK;
}

int32_t dukd_session_ask_cancel(const dukd_host *host, dukd_error *error) {
    if (host->should_cancel == NULL || host->should_cancel(host->ctx) == 0) return DUKD_OK;
    return dukd_report(error, DUKD_E_CANCELLED, "cancelled by the host's should_cancel");
}

void dukd_session_log(const dukd_host *host, int32_t level, const char *format, ...) {
    char line[4608];
    if (host->log == NULL) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    host->log(host->ctx, level, line);
}

static int32_t check_host(const dukd_host *host, dukd_host *copy, dukd_error *error) {
    const int32_t status = dukd_struct_check(host, DUKD_HOST_SIZE, "params->host", error);
    if (status != DUKD_OK) return status;
    if (host->tap_shape == NULL)
        return dukd_report(error, DUKD_E_ARGUMENT, "host: tap_shape is NULL, and it is required");
    if ((host->alloc == NULL) != (host->free == NULL)) {
        return dukd_report(error, DUKD_E_ARGUMENT, "host: %s is NULL, but %s is not: give both or none",
                           host->alloc == NULL ? "alloc" : "free", host->alloc == NULL ? "free" : "alloc");
    }
    if ((host->parallel_for == NULL) != (host->max_threads == NULL)) {
        return dukd_report(error, DUKD_E_ARGUMENT, "host: %s is NULL, but %s is not: give both or none",
                           host->parallel_for == NULL ? "parallel_for" : "max_threads",
                           host->parallel_for == NULL ? "max_threads" : "parallel_for");
    }
    if (host->n_networks == 0 || host->networks == NULL) {
        return dukd_report(error, DUKD_E_ARGUMENT, "host: there are no networks: name at least \"student\"");
    }
    for (uint32_t i = 0; i < host->n_networks; i++) {
        if (host->networks[i] == NULL)
            return dukd_report(error, DUKD_E_ARGUMENT, "host: networks[%u] is NULL", i);
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(host->networks[i], host->networks[k]) != 0) continue;
            return dukd_report(error, DUKD_E_ARGUMENT, "host: networks[%u] and networks[%u] are both \"%s\"",
                               k, i, host->networks[i]);
        }
    }
    memcpy(copy, host, DUKD_HOST_SIZE);
    copy->struct_size = DUKD_HOST_SIZE;
    return DUKD_OK;
}

int32_t dukd_session_check_params(const dukd_session_params *params, dukd_host *host, dukd_error *error) {
    int32_t status = dukd_struct_check(params, DUKD_SESSION_PARAMS_SIZE, "params", error);
    if (status == DUKD_OK) status = check_host(params->host, host, error);
    if (status != DUKD_OK) return status;
    if ((params->flags & ~KNOWN_SESSION_FLAGS) != 0) {
        return dukd_report(error, DUKD_E_ARGUMENT, "params: flags are 0x%x, and of them 0x%x are unknown",
                           params->flags, params->flags & ~KNOWN_SESSION_FLAGS);
    }
    if (params->micro_count == 0) {
        return dukd_report(error, DUKD_E_ARGUMENT, "params: micro_count is 0; without micro-batches it is 1");
    }
    switch (params->device.device_type) {
    case DUKD_DEVICE_CPU:
    case DUKD_DEVICE_CUDA_HOST:
    case DUKD_DEVICE_CUDA:
        return DUKD_OK;
    default:
        return dukd_report(error, DUKD_E_ARGUMENT,
                           "params: device_type is %d, expected DUKD_DEVICE_CPU, _CUDA or _CUDA_HOST",
                           params->device.device_type);
    }
}
