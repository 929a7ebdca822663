/* standin_nvrtc.cpp - a stand-in for NVRTC, in a library of its own as the real one is: the
 * system's C++ compiler makes an image (image.h) of the text, which the stand-in's loader can open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fstream>
#include <iterator>
#include <string>

struct nvrtc_program {
    std::string text, code;
};

static std::string read_file(const std::string &path)
{
    std::ifstream f(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(f), std::istreambuf_iterator<char>());
}

extern "C" {
int nvrtcCreateProgram(nvrtc_program **p, const char *text, const char *, int, const char *const *,
                       const char *const *)
{
    *p = new nvrtc_program{ text, "" };
    return 0;
}

/* The first option names the device, the last forbids what the emulator never does. */
int nvrtcCompileProgram(nvrtc_program *p, int n, const char *const *options)
{
    char folder[] = "/tmp/nvrtc-XXXXXX";
    if (n != 3 || strcmp(options[0], "--gpu-architecture=sm_90") != 0 ||
        strcmp(options[2], "--fmad=false") != 0)
        return 5;                                     /* NVRTC_ERROR_INVALID_OPTION */
    if (getenv("CUDA_STANDIN_NO_COMPILER")) return 6; /* NVRTC_ERROR_COMPILATION */
    if (!mkdtemp(folder)) return 1;
    std::string base = std::string(folder) + "/chain";
    std::ofstream(base + ".cpp") << "#include \"image.h\"\n" << p->text << "IMAGE_KERNEL(chain)\n";
    std::string command = STANDIN_CXX
                          " -DCUDA_EMULATOR=1 " STANDIN_INCLUDE
                          " -fvisibility=hidden -O1 -ffp-contract=off -shared -fPIC -o " +
                          base + ".so " + base + ".cpp";
    int status = system(command.c_str());
    p->code = read_file(base + ".so");
    unlink((base + ".cpp").c_str());
    unlink((base + ".so").c_str());
    rmdir(folder);
    return status ? 6 : 0;
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
