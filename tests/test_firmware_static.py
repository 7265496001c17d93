"""The generated C before it runs: warnings of compilers, MISRA rules, CMake, vendors' calls."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from edgesep import native
from edgesep.core.build import SOURCES
from edgesep.firmware import read_board
from edgesep.firmware.costs import processor
from tests.core_jobs import STRICT
from tests.firmware_jobs import BOARDS, need, project
from tests.helpers import write_random_model

pytestmark = pytest.mark.skipif(not native.available(), reason="the C core is not built")

ROOT = Path(__file__).resolve().parent.parent
DEVIATIONS = ROOT / "tests" / "misra_deviations.txt"
CLANG_TARGETS = {  # -mcpu of a board -> clang's options for it
    "cortex-m4": ["--target=thumbv7em-none-eabihf", "-mcpu=cortex-m4"],
    "cortex-m7": ["--target=thumbv7em-none-eabihf", "-mcpu=cortex-m7"],
    "cortex-m33": ["--target=thumbv8m.main-none-eabihf", "-mcpu=cortex-m33"],
    "cortex-m55": ["--target=thumbv8.1m.main-none-eabihf", "-mcpu=cortex-m55"],
}
CLANG = ["-fomit-frame-pointer"]  # the loops for DSP instructions want every register
FORMS = {  # of the kernels -> what a compiler would define
    "plain": ["-DEDGESEP_PLAIN"],
    "dsp": ["-D__GNUC__=12", "-D__ARM_FEATURE_SIMD32=1"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project("cortex_m4f", model, tmp_path_factory.mktemp("static") / "project")


def includes(folder: Path) -> list[str]:
    return [f"-I{folder / name}" for name in ("core", "model", ".", "example")]


def sources(folder: Path) -> list[str]:
    """The product's own: what ends up in a user's firmware, and the logic of the DMA example."""
    paths = [*folder.glob("core/*.c"), *folder.glob("model/*.c"), folder / "edgesep.c",
             folder / "example/ping_pong.c", folder / "example/main_dma.c"]  # fmt: skip
    return sorted(map(str, paths))


def test_the_core_of_a_project_is_all_of_the_core(folder: Path) -> None:
    core = ROOT / "edgesep" / "core"
    expected = {path.name for path in core.glob("*.[ch]")}
    assert {path.name for path in (folder / "core").iterdir()} == expected
    assert {f"edgesep_{name}.c" for name in SOURCES} == {p.name for p in core.glob("*.c")}
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("form", sorted(FORMS))
def test_misra_rules_are_kept_or_their_deviations_listed(
    form: str, folder: Path, tmp_path: Path
) -> None:
    need("cppcheck", "cppcheck")
    command = ["cppcheck", "--quiet", "--addon=misra", "--std=c99", "--platform=unix32",
               "--enable=warning,style,performance,portability", "--error-exitcode=3",
               f"--suppressions-list={DEVIATIONS}", "--template={file}:{line}: {id} {message}",
               *FORMS[form], *includes(folder)]  # fmt: skip
    files = [name for name in sources(folder) if not name.endswith("edgesep_network.c")]
    files.append(str(folder / "core" / "edgesep_network.c"))  # not the model's: numbers only
    done = subprocess.run(
        [*command, *files], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.stdout + done.stderr).splitlines() == []
    assert done.returncode == 0


@pytest.mark.slow
def test_a_rule_that_is_broken_is_found(folder: Path, tmp_path: Path) -> None:
    need("cppcheck", "cppcheck")
    bad = tmp_path / "bad.c"
    bad.write_text(
        "int f(int x);\nint f(int x) {\n    goto end;\nend:\n    return x++ + 0777;\n}\n"
    )
    done = subprocess.run(
        ["cppcheck", "--quiet", "--addon=misra", "--error-exitcode=3", "--enable=style",
         f"--suppressions-list={DEVIATIONS}", "--template={id}", str(bad)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 3
    assert {"misra-c2012-15.1", "misra-c2012-7.1"} <= set(done.stderr.split())


def test_every_deviation_has_a_reason() -> None:
    reason = ""
    for line in DEVIATIONS.read_text().splitlines():
        if not line.startswith("//"):
            assert not line or reason, f"{line} has no reason"
            rule = re.fullmatch(r"misra-c2012-([\d.]+)", line)
            assert rule is None or rule[1] in reason.replace(",", " ").replace(":", " ").split(), (
                f"{line}: the reason is of another rule"
            )
            reason = reason if line else ""
        else:
            reason += line


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_clang_has_no_warnings(board: str, folder: Path, tmp_path: Path) -> None:
    need("clang", "clang")
    headers = Path("/usr/include/newlib")
    if not headers.is_dir():
        pytest.skip("no newlib headers (apt install libnewlib-arm-none-eabi)")
    target = CLANG_TARGETS[processor(read_board(board).cpu_flags)]
    command = [
        "clang",
        *target,
        "-mfloat-abi=hard",
        *STRICT,
        "-O1",
        *CLANG,
        "-c",
        f"-isystem{headers}",
    ]
    for source in sources(folder):
        done = subprocess.run(
            [*command, *includes(folder), source, "-o", str(tmp_path / "object.o")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), source


STUBS = {  # what the vendors' headers declare, as far as the examples use it
    "i2s.h": """
        typedef struct { int x; } I2S_HandleTypeDef;
        typedef enum { HAL_OK = 0, HAL_ERROR } HAL_StatusTypeDef;
        extern I2S_HandleTypeDef hi2s2;
        HAL_StatusTypeDef HAL_I2SEx_TransmitReceive_DMA(I2S_HandleTypeDef *i2s, uint16_t *tx,
                                                        uint16_t *rx, uint16_t size);
        void HAL_I2SEx_TxRxHalfCpltCallback(I2S_HandleTypeDef *i2s);
        void HAL_I2SEx_TxRxCpltCallback(I2S_HandleTypeDef *i2s);
        void __WFE(void);
        """,
    "sai.h": """
        typedef struct { int x; } SAI_HandleTypeDef;
        typedef enum { HAL_OK = 0, HAL_ERROR } HAL_StatusTypeDef;
        extern SAI_HandleTypeDef hsai_BlockA1, hsai_BlockB1;
        HAL_StatusTypeDef HAL_SAI_Receive_DMA(SAI_HandleTypeDef *sai, uint8_t *to, uint16_t size);
        HAL_StatusTypeDef HAL_SAI_Transmit_DMA(SAI_HandleTypeDef *sai, uint8_t *of, uint16_t size);
        void HAL_SAI_RxHalfCpltCallback(SAI_HandleTypeDef *sai);
        void HAL_SAI_RxCpltCallback(SAI_HandleTypeDef *sai);
        void __WFE(void);
        """,
    "Driver_SAI.h": """
        typedef void (*ARM_SAI_SignalEvent_t)(uint32_t event);
        typedef enum { ARM_POWER_OFF, ARM_POWER_LOW, ARM_POWER_FULL } ARM_POWER_STATE;
        typedef struct {
            int32_t (*Initialize)(ARM_SAI_SignalEvent_t callback);
            int32_t (*PowerControl)(ARM_POWER_STATE state);
            int32_t (*Send)(const void *data, uint32_t num);
            int32_t (*Receive)(void *data, uint32_t num);
            int32_t (*Control)(uint32_t control, uint32_t arg1, uint32_t arg2);
        } const ARM_DRIVER_SAI;
        #define ARM_DRIVER_OK 0
        #define ARM_SAI_CONFIGURE_TX 0x01u
        #define ARM_SAI_CONFIGURE_RX 0x02u
        #define ARM_SAI_CONTROL_TX 0x03u
        #define ARM_SAI_CONTROL_RX 0x04u
        #define ARM_SAI_MODE_MASTER (1u << 8)
        #define ARM_SAI_PROTOCOL_I2S (1u << 11)
        #define ARM_SAI_DATA_SIZE(n) (((n) - 1u) << 14)
        #define ARM_SAI_EVENT_RECEIVE_COMPLETE (1u << 1)
        """,
}


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_the_dma_example_of_a_board_compiles_against_its_vendors_calls(
    board: str, model: Path, tmp_path: Path
) -> None:
    need("make", "make")
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    folder = project(board, model, tmp_path / "project")
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name, text in STUBS.items():
        (stubs / name).write_text(f"#include <stdint.h>\n{text}")
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), "dma-object", f"CPPFLAGS=-I{stubs}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (built,) = folder.glob("build/example/dma_*.o")
    assert built.stem == f"dma_{read_board(board).sound}"


def cmake(*arguments: object) -> None:
    done = subprocess.run(
        ["cmake", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_cmake_builds_the_library_and_the_examples(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    need("cmake", "cmake")
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    need("qemu-system-arm", "qemu-system-arm")
    built = tmp_path / "built"
    cmake("-S", folder, "-B", built, f"-DCMAKE_TOOLCHAIN_FILE={folder / 'arm-none-eabi.cmake'}")
    cmake("--build", built, "--parallel", "2")
    assert {"libedgesep.a", "firmware.elf", "firmware_dma.elf"} <= {p.name for p in built.iterdir()}
    check_same_output(built, model, tmp_path)


def check_same_output(built: Path, model: Path, scratch: Path) -> None:
    """Run CMake's firmware in the place of make's."""
    import soundfile

    from edgesep.cli import main
    from tests import signals

    source, expected = scratch / "in.wav", scratch / "expected.wav"
    soundfile.write(source, signals.speech_like(4000, -3), 16000)
    command = ["file", str(source), "-o", str(expected), "--quiet", "--engine", "exact"]
    assert main([*command, "--model", str(model), "--max-attenuation-db", "20"]) == 0
    machine = read_board("cortex_m4f").qemu
    assert machine is not None
    words = ",".join(f"arg={word}" for word in ("firmware", source, scratch / "out.wav"))
    subprocess.run(
        ["qemu-system-arm", "-M", machine.machine, "-nographic", "-monitor", "none", "-serial",
         "none", "-semihosting-config", f"enable=on,target=native,{words}",
         "-kernel", str(built / "firmware.elf")],
        check=True, capture_output=True,
    )  # fmt: skip
    assert (scratch / "out.wav").read_bytes() == expected.read_bytes()


@pytest.mark.slow
def test_cmake_builds_the_library_for_this_machine(folder: Path, tmp_path: Path) -> None:
    need("cmake", "cmake")
    need("gcc", "gcc")
    application = tmp_path / "application"
    application.mkdir()
    (application / "main.c").write_text(
        '#include "edgesep.h"\nint main(void) { return edgesep_memory_size() == 0; }\n'
    )
    (application / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(application C)\n"
        f'add_subdirectory("{folder}" edgesep)\n'
        "add_executable(application main.c)\ntarget_link_libraries(application edgesep)\n"
    )
    cmake("-S", application, "-B", tmp_path / "built")
    cmake("--build", tmp_path / "built", "--parallel", "2")
    subprocess.run([tmp_path / "built" / "application"], check=True)
