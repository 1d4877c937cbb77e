"""Find, label, decode and survey the files of image folders."""
