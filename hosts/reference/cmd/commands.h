/* The commands of dukd-host. argv[0] is the command's own name; the result is the exit status: 0 done, 1
 * failed, 2 misused. */
#ifndef DUKD_COMMANDS_H
#define DUKD_COMMANDS_H

int dukd_cmd_train(int argc, char **argv);
int dukd_cmd_test(int argc, char **argv);
int dukd_cmd_upscale(int argc, char **argv);
int dukd_cmd_preview(int argc, char **argv);
int dukd_cmd_info(int argc, char **argv);
int dukd_cmd_prepare(int argc, char **argv);
int dukd_cmd_metrics(int argc, char **argv);
int dukd_cmd_convert(int argc, char **argv);
int dukd_cmd_plugin(int argc, char **argv);

#endif
