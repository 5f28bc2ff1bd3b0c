/* A plugin that computes on the processor, for a host whose arrays are in device_memory.h: that memory is open while the plugin runs, and
 * what it makes is handed out in that memory. */
#ifndef DUKD_TEST_DEVICE_PLUGIN_H
#define DUKD_TEST_DEVICE_PLUGIN_H

#include "dukd_plugin.h"

/* Around `real`, one at a time. The module exports it for tests that bring a plugin of their own. */
__attribute__((visibility("default"))) const dukd_plugin *device_plugin_around(const dukd_plugin *real);
typedef const dukd_plugin *(*device_plugin_around_fn)(const dukd_plugin *);
#define DEVICE_PLUGIN_AROUND "device_plugin_around"

#endif
