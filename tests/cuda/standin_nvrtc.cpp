/* standin_nvrtc.cpp - a stand-in for NVRTC, in a library of its own as the real one is: the
 * system's C++ compiler makes an image (image.h) of the text, which the stand-in's loader can open.
 * The real NVRTC needs no device: where the environment's CUDA_STANDIN_NVRTC names its library, it
 * must compile the text, too, with the same options. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fstream>
#include <iterator>
#include <string>

struct nvrtc_program {
    std::string text, code, log;
};

static std::string read_file(const std::string &path)
{
    std::ifstream f(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(f), std::istreambuf_iterator<char>());
}

/* What the real one says of the text; 0 too where there is none. */
static int ask_real(nvrtc_program *p, int n, const char *const *options)
{
    const char *path = getenv("CUDA_STANDIN_NVRTC");
    void *library = path && *path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (!path || !*path) return 0;
    if (!library) return 1;
    auto create = (int (*)(void **, const char *, const char *, int, const char *const *,
                           const char *const *))dlsym(library, "nvrtcCreateProgram");
    auto compile = (int (*)(void *, int, const char *const *))dlsym(library, "nvrtcCompileProgram");
    auto size = (int (*)(void *, size_t *))dlsym(library, "nvrtcGetProgramLogSize");
    auto log = (int (*)(void *, char *))dlsym(library, "nvrtcGetProgramLog");
    auto destroy = (int (*)(void **))dlsym(library, "nvrtcDestroyProgram");
    void *real = nullptr;
    size_t bytes = 0;
    int error = create(&real, p->text.c_str(), "chain.cu", 0, nullptr, nullptr);
    if (error) return error;
    error = compile(real, n, options);
    if (size(real, &bytes) == 0) {
        p->log.resize(bytes);
        log(real, p->log.data());
    }
    destroy(&real);
    return error;
}

extern "C" {
int nvrtcCreateProgram(nvrtc_program **p, const char *text, const char *, int, const char *const *,
                       const char *const *)
{
    *p = new nvrtc_program{ text, "", "" };
    return 0;
}

/* The first option names the device, the last forbids what the emulator never does. */
int nvrtcCompileProgram(nvrtc_program *p, int n, const char *const *options)
{
    char folder[] = "/tmp/nvrtc-XXXXXX";
    if (n != 3 || strcmp(options[0], "--gpu-architecture=sm_90") != 0 ||
        strcmp(options[2], "--fmad=false") != 0)
        return 5; /* NVRTC_ERROR_INVALID_OPTION */
    if (getenv("CUDA_STANDIN_NO_COMPILER")) p->text += "\n#error no compiler\n";
    int error = ask_real(p, n, options);
    if (error) return error;
    if (!mkdtemp(folder)) return 1;
    std::string base = std::string(folder) + "/chain";
    std::ofstream(base + ".cpp") << "#include \"image.h\"\n" << p->text << "IMAGE_KERNEL(chain)\n";
    std::string command = STANDIN_CXX
                          " -DCUDA_EMULATOR=1 " STANDIN_INCLUDE
                          " -fvisibility=hidden -O1 -ffp-contract=off -shared -fPIC -o " +
                          base + ".so " + base + ".cpp 2> " + base + ".log";
    int status = system(command.c_str());
    p->code = read_file(base + ".so");
    if (status) p->log = read_file(base + ".log");
    unlink((base + ".cpp").c_str());
    unlink((base + ".so").c_str());
    unlink((base + ".log").c_str());
    rmdir(folder);
    return status ? 6 : 0; /* NVRTC_ERROR_COMPILATION */
}
int nvrtcGetProgramLogSize(nvrtc_program *p, size_t *size)
{
    *size = p->log.size() + 1;
    return 0;
}
int nvrtcGetProgramLog(nvrtc_program *p, char *log)
{
    memcpy(log, p->log.c_str(), p->log.size() + 1);
    return 0;
}
int nvrtcGetCUBINSize(nvrtc_program *p, size_t *size)
{
    *size = p->code.size();
    return 0;
}
int nvrtcGetCUBIN(nvrtc_program *p, char *code)
{
    memcpy(code, p->code.data(), p->code.size());
    return 0;
}
int nvrtcDestroyProgram(nvrtc_program **p)
{
    delete *p;
    *p = nullptr;
    return 0;
}
const char *nvrtcGetErrorString(int error)
{
    return error == 6 ? "the text does not compile" : "an error";
}
}
