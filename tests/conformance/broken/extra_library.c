/* A library that is not the system's, for a plugin that needs one. */
int conform_extra(void);

int conform_extra(void) {
    return 0;
}
