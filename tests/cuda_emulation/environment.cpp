/* What the environment says of the emulated machine: for programs that are no test's own (emulation.h). */
#include "internal.hpp"

#include <string>

namespace emulation {

namespace {

struct machine {
    long long devices = 2, driver = 13000;
};

/* A word that is not understood ends the program. */
void understand(const std::string &word, machine *m) {
    char name[64], later[2] = "";
    if (word == "prompt") return run_promptly();
    long long number = 0;
    int error = 0;
    if (sscanf(word.c_str(), "devices=%lld", &m->devices) == 1 ||
        sscanf(word.c_str(), "driver=%lld", &m->driver) == 1)
        return;
    const char *rank = getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    if (rank == nullptr) rank = getenv("MPI_LOCALRANKID");
    if (word == "first=rank") {
        emulation_first_device(rank != nullptr ? atoi(rank) : 0);
    } else if (sscanf(word.c_str(), "first=%lld", &number) == 1) {
        emulation_first_device(static_cast<int32_t>(number));
    } else if (sscanf(word.c_str(), "capability=%lld", &number) == 1) {
        emulation_capability(static_cast<int32_t>(number));
    } else if (sscanf(word.c_str(), "memory=%lld", &number) == 1) {
        emulation_memory(number);
    } else if (sscanf(word.c_str(), "fail=%63[A-Za-z]@%lld:%d%1[+]", name, &number, &error, later) >= 3) {
        emulation_fail_named(name, error);
        fail_named_at(number, later[0] == 0);
        emulation_watch(1);
    } else {
        die("DUKD_EMULATION has '%s'", word.c_str());
    }
}

} // namespace

bool from_environment() {
    const char *given = getenv("DUKD_EMULATION");
    const std::string text = given != nullptr ? given : "";
    if (text.empty()) return true;
    machine m;
    for (size_t from = 0; from < text.size();) {
        const size_t comma = text.find(',', from), end = comma == std::string::npos ? text.size() : comma;
        understand(text.substr(from, end - from), &m);
        from = end + 1;
    }
    emulation_machine(static_cast<int32_t>(m.devices), static_cast<int32_t>(m.driver));
    return true;
}

} // namespace emulation
