mod repositories;
