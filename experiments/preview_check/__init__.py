"""Does `allgood preview` tell the truth? Settings predicted by tilting, then trained by RL and measured."""
